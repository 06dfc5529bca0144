"""``ready --wait`` as an init container: what it outlasts, and how soon it notices."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import sqlalchemy as sa
from deploys import CREATE, body, kind_of, must_run, run_db, started, touch, until, wait_end, wait_for
from support import Site

TWO_PHASES = body(CREATE.format("a")) + '\n@upgrade.phase("final")\ndef upgrade_final():\n    op.execute("SELECT 1")\n'


def test_it_ends_soon_after_another_process_has_run_the_phase(project: Callable[..., Site], database_url: str) -> None:
    site = project(database_url)
    go = site.folder / "go"
    site.revision("1", None, body(CREATE.format("a"), touch(site.folder / "begun"), until(go)))
    with started(site, "ready", "--wait", "60") as waiting, started(site, "upgrade") as upgrade:
        wait_for((site.folder / "begun").exists, "the step")
        time.sleep(1.5)
        assert waiting.poll() is None
        go.touch()
        assert wait_end(upgrade).status == 0
        ended = wait_end(waiting, 10)
    assert (ended.status, ended.stdout, ended.stderr) == (0, "", "Ready.\n")


def test_it_does_not_wait_for_the_phases_behind_the_boundary(project: Callable[..., Site], database_url: str) -> None:
    site = project(database_url)
    site.revision("1", None, TWO_PHASES)
    must_run(site, "upgrade", "--phase", "before-deploy")
    assert must_run(site, "ready", "--wait", "60").seconds < 20
    assert run_db(site, "ready", "--phase", "final", "--wait", "0.5").status == 1


def test_it_outlasts_a_server_that_is_not_up_yet(
    project: Callable[..., Site], database_url: str, tmp_path: Path
) -> None:
    migrated = project(database_url)
    with late_database(database_url, tmp_path) as (url, come_up):
        waiting = project(url)
        for site in (migrated, waiting):
            site.revision("1", None, body(CREATE.format("a")))
        with started(waiting, "ready", "--wait", "60") as process:
            time.sleep(1.5)
            assert process.poll() is None
            must_run(migrated, "upgrade")
            come_up()
            assert wait_end(process, 15).status == 0


def test_a_server_that_stays_down_is_the_reason_given(
    project: Callable[..., Site], database_url: str, tmp_path: Path
) -> None:
    with late_database(database_url, tmp_path) as (url, _):
        site = project(url)
        site.revision("1", None, body(CREATE.format("a")))
        ended = run_db(site, "ready", "--wait", "1")
    assert (ended.status, ended.stdout) == (1, "")
    assert ended.stderr.startswith("Error: ")
    assert "Not ready" not in ended.stderr
    assert 1 <= ended.seconds < 20


@contextmanager
def late_database(url: str, folder: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """Give an URL at which nothing answers, and a function after which the database of ``url`` does."""
    parsed = sa.make_url(url)
    if kind_of(url) == "sqlite":
        volume, file = folder / "volume", Path(parsed.database or "")
        yield f"sqlite:///{volume}/{file.name}", lambda: volume.symlink_to(file.parent)
        return
    target = (parsed.host or "127.0.0.1", parsed.port or {"postgresql": 5432, "mysql": 3306}[kind_of(url)])
    with socket.socket() as listener, Forwarder(listener, target) as forwarder:
        listener.bind(("127.0.0.1", 0))
        late = parsed.set(host="127.0.0.1", port=listener.getsockname()[1])
        yield late.render_as_string(hide_password=False), forwarder.come_up


class Forwarder:
    """Connects every client of a listening socket to a server, from ``come_up()`` on."""

    def __init__(self, listener: socket.socket, target: tuple[str, int]) -> None:
        self.listener = listener
        self.target = target
        self.open: list[socket.socket] = []
        self.threads: list[threading.Thread] = []

    def __enter__(self) -> Forwarder:
        return self

    def __exit__(self, *_: object) -> None:
        for item in (self.listener, *self.open):
            # Closing alone would not wake the threads.
            with suppress(OSError):
                item.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join()
        for item in self.open:
            item.close()

    def come_up(self) -> None:
        """Answer from now on."""
        self.listener.listen()
        self._begin(self._accept)

    def _begin(self, function: Callable[..., None], *arguments: socket.socket) -> None:
        self.threads.append(threading.Thread(target=function, args=arguments))
        self.threads[-1].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self.listener.accept()[0]
                server = socket.create_connection(self.target)
                self.open += [client, server]
                self._begin(_forward, client, server)
                self._begin(_forward, server, client)


def _forward(source: socket.socket, sink: socket.socket) -> None:
    """Pass bytes on until the source ends."""
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
