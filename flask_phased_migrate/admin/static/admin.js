/* Two conveniences: a page about something that runs looks again by itself, and commands can be copied with a click.
   Without this script everything else works as it does with it. */
(() => {
  "use strict";

  const root = document.querySelector(".migrate-admin");
  if (!root) return;
  const words = root.dataset;
  const main = root.querySelector("#migrate-admin-main");
  const announcer = root.querySelector("[data-announcer]");

  function announce(text) {
    if (announcer) announcer.textContent = text;
  }

  function makeButton(part, text, name) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = part;
    button.dataset.part = part;
    button.textContent = text;
    if (name) button.setAttribute("aria-label", `${text} ${name}`);
    return button;
  }

  /* Add what only the script can do to a page, be it the one that is shown or one that was just fetched. */
  function decorate(page) {
    for (const shown of page.querySelectorAll("[data-copy]")) {
      const button = makeButton("copy", words.wordCopy, shown.getAttribute("aria-label") || shown.textContent);
      if (shown.localName === "pre") shown.before(button);
      else shown.after(button);
    }
    for (const notice of page.querySelectorAll("[data-running]")) {
      notice.append(" ", makeButton("pause", paused ? words.wordResume : words.wordPause));
    }
  }

  /* Copy */

  async function copy(button) {
    const sibling = button.nextElementSibling;
    const shown = sibling && sibling.localName === "pre" ? sibling : button.previousElementSibling;
    try {
      await navigator.clipboard.writeText(shown.textContent);
    } catch {
      // The clipboard belongs to secure pages. Elsewhere: select it and copy the selection.
      getSelection().selectAllChildren(shown);
      if (!document.execCommand("copy")) return;
    }
    button.textContent = words.wordCopied;
    announce(words.wordCopied);
    setTimeout(() => { button.textContent = words.wordCopy; }, 2000);
  }

  /* Look again. A region is changed in place, not replaced: focus, selection, scrolling and open details stay. */

  const DELAY_MS = 3000;
  const LONGEST_DELAY_MS = 60000;
  let paused = false;
  let delay = DELAY_MS;
  let timer = 0;

  const keyOf = (node) => (node.dataset ? node.dataset.key || node.id : "");
  const alike = (one, other) => one.nodeName === other.nodeName && keyOf(one) === keyOf(other);

  function find(from, wanted) {
    if (wanted.nodeType !== Node.ELEMENT_NODE) return from && alike(from, wanted) ? from : null;
    let found = from;
    while (found && !alike(found, wanted)) found = found.nextSibling;
    return found;
  }

  function patchAttributes(old, fresh) {
    for (const { name } of [...old.attributes]) {
      if (name !== "open" && !fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (name !== "open" && old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
  }

  function patch(old, fresh) {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    if (old.localName === "form") return; // what somebody has begun to fill in
    patchAttributes(old, fresh);
    let place = old.firstChild;
    const removeUntil = (end) => {
      while (place !== end) {
        const next = place.nextSibling;
        place.remove();
        place = next;
      }
    };
    for (const wanted of fresh.childNodes) {
      const found = find(place, wanted);
      if (found) {
        removeUntil(found);
        patch(found, wanted);
        place = found.nextSibling;
      } else {
        old.insertBefore(document.importNode(wanted, true), place);
      }
    }
    removeUntil(null);
  }

  function show(page) {
    const focused = document.activeElement;
    decorate(page);
    for (const region of root.querySelectorAll("[data-live]")) {
      const fresh = page.querySelector(`[data-live="${region.dataset.live}"]`);
      if (fresh) patch(region, fresh);
    }
    // What had the focus may be gone; then the next Tab goes on from the content, not from the top of the page.
    if (focused !== document.activeElement && main) main.focus({ preventScroll: true });
  }

  async function look() {
    let page = null;
    try {
      const answer = await fetch(location.href, { cache: "no-store", redirect: "error" });
      const text = await answer.text();
      page = new DOMParser().parseFromString(text, "text/html").querySelector(".migrate-admin");
      if (!page || !(answer.ok || answer.status === 503)) page = null;
    } catch {
      // No network, or a page to log in: told below.
    }
    if (paused) return;
    if (page) {
      delay = DELAY_MS;
      show(page);
      if (!page.hasAttribute("data-refresh")) {
        root.removeAttribute("data-refresh");
        announce(words.wordEnded);
        return;
      }
    } else {
      delay = Math.min(delay * 2, LONGEST_DELAY_MS);
      announce(words.wordLost);
    }
    lookLater();
  }

  function lookLater() {
    clearTimeout(timer);
    if (!paused && !document.hidden && root.hasAttribute("data-refresh")) timer = setTimeout(look, delay);
  }

  function pause(button) {
    paused = !paused;
    button.textContent = paused ? words.wordResume : words.wordPause;
    clearTimeout(timer);
    if (!paused) look();
  }

  document.addEventListener("visibilitychange", lookLater);
  root.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-part]");
    if (button && button.dataset.part === "copy") copy(button);
    if (button && button.dataset.part === "pause") pause(button);
  });
  decorate(root);
  lookLater();
})();
