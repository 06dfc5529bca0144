"""Our revision map gives what Alembic's own gives, whatever the history, and its order never hangs on the hash seed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import ANY

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.script.revision import Revision, RevisionError, RevisionMap
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_phased_migrate import revision_map
from flask_phased_migrate.revision_map import LinearRevisionMap, use_linear_map


class Written(NamedTuple):
    """What a revision file says."""

    down: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


History = dict[str, Written]


@st.composite
def histories(draw: st.DrawFn, *, most_depends_on: int = 3, size: int = 9) -> History:
    """Return a random history with several bases, branches, merges, labels and depends_on; files in any order."""
    names = [f"{number:02}{'beef' if number % 3 else 'cafe'}" for number in range(draw(st.integers(1, size)))]
    found: History = {}
    labels: list[str] = []
    for place, name in enumerate(names):
        older = names[:place]
        down = draw(st.lists(st.sampled_from(older), max_size=3, unique=True)) if older else []
        others = [other for other in (*older, *labels) if other not in down]
        needs = draw(st.lists(st.sampled_from(others), max_size=most_depends_on, unique=True)) if others else []
        own = draw(st.sampled_from([(), (), (), (f"label{place}",), (f"label{place}", f"line{place}")]))
        labels += own
        found[name] = Written(tuple(down), tuple(needs), own)
    return {name: found[name] for name in draw(st.permutations(names))}


def make_map(kind: type[RevisionMap], history: History) -> RevisionMap:
    return kind(
        lambda: [
            Revision(name, item.down or None, item.depends_on or None, item.labels or None)
            for name, item in history.items()
        ]
    )


@contextmanager
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def answer(ask: Callable[[], Any]) -> Any:
    """Return what ``ask`` returns, or the error that it raises."""
    try:
        with quiet():
            return ask()
    except (RevisionError, AssertionError, TypeError, ValueError, AttributeError) as error:
        # What comes then are several revisions, in the order of a set.
        words = re.split("start with |overlaps with |present for given ", str(error))
        return (type(error).__name__, words[0])


def names_of(revisions: Any) -> list[Any]:
    return [getattr(item, "revision", item) for item in revisions]


def identifiers(history: History) -> st.SearchStrategy[Any]:
    """Return what somebody may type for a revision: ids, parts of them, labels, words, and steps from all of these."""
    names = [*history, *(name[:4] for name in history), *(label for item in history.values() for label in item.labels)]
    labels = [*history, *(label for item in history.values() for label in item.labels)]
    words = st.sampled_from(["head", "heads", "base"])
    single = st.one_of(st.sampled_from(names), words)
    steps = st.sampled_from(["-1", "-2", "+1", "+2", "-9", "+9"])
    of_line = st.builds("{}@{}".format, st.sampled_from(labels), st.one_of(single, steps))
    relative = st.builds("{}{}".format, st.sampled_from([*history, *labels, "head"]), steps)
    return st.one_of(single, of_line, relative, steps)


FACTS = ("down_revision", "dependencies", "nextrev", "_all_nextrev", "branch_labels", "_resolved_dependencies")


@given(histories())
@settings(max_examples=300, deadline=None)
def test_the_map_has_what_alembics_has(history: History) -> None:
    found = []
    for kind in (RevisionMap, LinearRevisionMap):
        own = make_map(kind, history)
        known = own._revision_map
        facts = {
            name: item and (item.revision, *(getattr(item, fact) for fact in FACTS)) for name, item in known.items()
        }
        needed = {name: item and frozenset(item._normalized_resolved_dependencies) for name, item in known.items()}
        found.append((facts, needed, own.heads, own.bases, own._real_heads, own._real_bases))
    assert found[1] == found[0]


@given(histories(), st.data())
@settings(max_examples=800, deadline=None)
def test_the_same_revisions_are_found_under_every_name(history: History, data: st.DataObject) -> None:
    stock, own = make_map(RevisionMap, history), make_map(LinearRevisionMap, history)
    typed = data.draw(identifiers(history))
    assert answer(lambda: names_of(own.get_revisions(typed))) == answer(lambda: names_of(stock.get_revisions(typed)))
    other = data.draw(identifiers(history))
    for dependencies in (False, True):
        shares = [
            answer(lambda: known.filter_for_lineage(sorted(history), other, dependencies))  # noqa: B023
            for known in (stock, own)
        ]
        assert shares[1] == shares[0]


def walks(known: RevisionMap, upper: Any, lower: Any, options: dict[str, bool]) -> Any:
    return answer(lambda: names_of(known.iterate_revisions(upper, lower, **options)))


def options() -> st.SearchStrategy[dict[str, bool]]:
    names = ("implicit_base", "inclusive", "select_for_downgrade", "assert_relative_length")
    return st.fixed_dictionaries({name: st.booleans() for name in names})


@given(histories(most_depends_on=1), st.data())
@settings(max_examples=1500, deadline=None)
def test_walks_have_alembics_order_where_it_has_one(history: History, data: st.DataObject) -> None:
    stock, own = make_map(RevisionMap, history), make_map(LinearRevisionMap, history)
    upper, lower = data.draw(identifiers(history)), data.draw(identifiers(history))
    chosen = data.draw(options())
    assert walks(own, upper, lower, chosen) == walks(stock, upper, lower, chosen)


@given(histories(), st.data())
@settings(max_examples=800, deadline=None)
def test_upgrades_and_downgrades_from_any_state_have_alembics_revisions(history: History, data: st.DataObject) -> None:
    stock, own = make_map(RevisionMap, history), make_map(LinearRevisionMap, history)
    rows = tuple(data.draw(st.lists(st.sampled_from(sorted(history)), max_size=3, unique=True)))
    target = data.draw(identifiers(history))
    assert answer(lambda: own._get_all_current(rows)) is not None
    assert in_any_order(names_of(own._get_all_current(rows))) == in_any_order(names_of(stock._get_all_current(rows)))
    for upper, lower, chosen in (
        (target, rows, {"implicit_base": True}),
        (rows, target, {"select_for_downgrade": True}),
        ("heads", "base", {"inclusive": True}),
    ):
        found = walks(own, upper, lower, chosen)
        assert in_any_order(found) == in_any_order(walks(stock, upper, lower, chosen))
        assert isinstance(found, tuple) or is_in_order(own, found)


def in_any_order(found: Any) -> Any:
    return sorted(found) if isinstance(found, list) else found


def is_in_order(known: RevisionMap, names: list[str]) -> bool:
    """Return whether each revision comes before all that it needs."""
    for place, name in enumerate(names):
        needed = {item.revision for item in known._get_ancestor_nodes([known.get_revision(name)])}
        if needed.intersection(names[:place]):
            return False
    return True


@given(histories(), st.sampled_from(["parent", "dependency"]))
@settings(max_examples=100, deadline=None)
def test_circles_are_refused_as_alembic_refuses_them(history: History, through: str) -> None:
    first, last = min(history), max(history)
    needs_last = {"down": (last,)} if through == "parent" else {"down": (), "depends_on": (last,)}
    circular = {**history, first: history[first]._replace(**needs_last), last: history[last]._replace(down=(first,))}
    if first != last:
        stock, own = make_map(RevisionMap, circular), make_map(LinearRevisionMap, circular)
        found, theirs = answer(lambda: len(own._revision_map)), answer(lambda: len(stock._revision_map))
        # Alembic (1.20) does not see a circle that both a base and a head lead to.
        assert found == (theirs if isinstance(theirs, tuple) else ("DependencyCycleDetected", ANY))
        assert found[0].endswith("CycleDetected")


def test_a_parent_without_a_file_is_warned_of_in_alembics_words() -> None:
    own = make_map(LinearRevisionMap, {"aaaa": Written(("zzzz",))})
    with pytest.warns(UserWarning, match="Revision zzzz referenced from .* is not present"), pytest.raises(KeyError):
        own._revision_map  # noqa: B018  (it is made when it is asked for)


def test_a_label_that_two_files_have_is_refused_in_alembics_words() -> None:
    own = make_map(LinearRevisionMap, {"aaaa": Written(labels=("x",)), "bbbb": Written(labels=("x",))})
    with pytest.raises(RevisionError, match="Branch name 'x' in revision bbbb already used by revision aaaa"):
        own._revision_map  # noqa: B018


def test_an_id_that_is_there_twice_is_warned_of() -> None:
    own = LinearRevisionMap(lambda: [Revision("aaaa", None), Revision("aaaa", None)])
    with pytest.warns(UserWarning, match="Revision aaaa is present more than once"):
        assert own._revision_map


def test_a_revision_that_is_added_later_is_walked_as_well() -> None:
    for kind in (RevisionMap, LinearRevisionMap):
        known = make_map(kind, {"aaaa": Written(), "bbbb": Written(("aaaa",))})
        before = names_of(known.iterate_revisions("heads", "base"))
        known.add_revision(Revision("cccc", "bbbb"))
        after = names_of(known.iterate_revisions("heads", "base"))
        assert (before, after, known.heads) == (["bbbb", "aaaa"], ["cccc", "bbbb", "aaaa"], ("cccc",))


# -- the hash seed --------------------------------------------------------------------------------

PROGRAM = """
import json
from alembic.script.revision import Revision
from flask_phased_migrate.revision_map import LinearRevisionMap
links = {"r0": ((), ()), "aa": (("r0",), ()), "bb": (("r0",), ()), "cc": (("r0",), ("aa", "bb")),
         "dd": (("r0",), ()), "ee": (("dd",), ("bb", "aa", "cc")), "ff": (("r0",), ("dd", "bb")),
         "m": (("ee", "ff"), ())}
revisions = [Revision(name, down or None, needs or None) for name, (down, needs) in links.items()]
known = LinearRevisionMap(lambda: revisions)
print(json.dumps([
    [item.revision for item in known.iterate_revisions("heads", "base")],
    [item.revision for item in known.iterate_revisions("m", "base", select_for_downgrade=True)],
    [known.get_revision(name)._normalized_down_revisions for name in links],
]))
"""


def test_no_order_depends_on_the_hash_seed() -> None:
    answers = set()
    for seed in ("0", "1", "2", "42"):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            cwd=Path(__file__).parent.parent,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        answers.add(done.stdout)
    assert len(answers) == 1
    assert json.loads(answers.pop())[0] == ["m", "ee", "ff", "dd", "cc", "aa", "bb", "r0"]


# -- when it is used ------------------------------------------------------------------------------


@pytest.fixture
def script(tmp_path: Path) -> ScriptDirectory:
    (tmp_path / "versions").mkdir()
    (tmp_path / "versions" / "1.py").write_text("revision = '1'\ndown_revision = None\n")
    config = Config()
    config.set_main_option("script_location", str(tmp_path))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


def test_a_script_directory_is_given_the_linear_map(script: ScriptDirectory) -> None:
    use_linear_map(script)
    assert (type(script.revision_map), script.get_heads()) == (LinearRevisionMap, ["1"])


def test_another_version_of_alembic_keeps_its_own_map(script: ScriptDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    def sort(self: RevisionMap, revisions: Any) -> list[str]:
        return [self.heads[0], *revisions]

    monkeypatch.setattr(RevisionMap, "_topological_sort", sort)
    revision_map.is_known_alembic.cache_clear()
    use_linear_map(script)
    assert type(script.revision_map) is RevisionMap
    monkeypatch.undo()
    revision_map.is_known_alembic.cache_clear()


def test_a_map_that_somebody_replaced_or_read_stays(script: ScriptDirectory) -> None:
    assert script.get_heads() == ["1"]
    use_linear_map(script)
    assert type(script.revision_map) is RevisionMap

    class Other(RevisionMap):
        pass

    script.revision_map = other = Other(script._load_revisions)
    use_linear_map(script)
    assert script.revision_map is other
