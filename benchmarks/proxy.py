"""A TCP proxy between a client and its database server that counts round trips.

A round trip is one or several requests and what the server answers to them: a change of direction from the
client to the server and back. What belongs to the login is not counted, nor is a good-bye, which has no answer.
"""

from __future__ import annotations

import select
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

CHUNK = 65536


@dataclass
class Trips:
    """The round trips of one connection after its login, each as what the client asked for."""

    requests: list[str] = field(default_factory=list)


class PostgreSQL:
    """Messages of a type byte and a length (PostgreSQL documentation, 55.7). ReadyForQuery ends the login."""

    def __init__(self) -> None:
        self._rest = b""
        self._logged_in = False

    def answered(self, data: bytes) -> bool:
        """Read bytes of the server; return whether the login has ended."""
        if self._logged_in:
            return True
        self._rest += data
        while len(self._rest) >= 5:
            length = 1 + int.from_bytes(self._rest[1:5], "big")
            if len(self._rest) < length:
                break
            self._logged_in = self._logged_in or self._rest[:1] == b"Z"
            self._rest = self._rest[length:]
        return self._logged_in

    def describe(self, data: bytes) -> str:
        """Return the SQL text of the first Query or Parse message, else the types of the messages."""
        kinds, position = "", 0
        while position + 5 <= len(data):
            kind, length = data[position : position + 1], int.from_bytes(data[position + 1 : position + 5], "big")
            content = data[position + 5 : position + 1 + length]
            if kind == b"Q":
                return _text(content.rstrip(b"\0"))
            if kind == b"P":
                return _text(content.split(b"\0")[1])
            kinds += kind.decode("latin-1")
            position += 1 + length
        return f"<{kinds}>"


class MySQL:
    """Packets of a three-byte length and a number (MariaDB protocol). The first OK or ERR packet ends the login."""

    def __init__(self) -> None:
        self._rest = b""
        self._packets = 0
        self._logged_in = False

    def answered(self, data: bytes) -> bool:
        """Read bytes of the server; return whether the login has ended."""
        if self._logged_in:
            return True
        self._rest += data
        while len(self._rest) >= 4:
            length = 4 + int.from_bytes(self._rest[:3], "little")
            if len(self._rest) < length:
                break
            self._packets += 1
            # The first packet is the server's greeting.
            self._logged_in = self._logged_in or (self._packets > 1 and self._rest[4:5] in (b"\x00", b"\xff"))
            self._rest = self._rest[length:]
        return self._logged_in

    def describe(self, data: bytes) -> str:
        """Return the SQL text of COM_QUERY, else the command's number."""
        return _text(data[5:]) if data[4:5] == b"\x03" else f"<command {data[4]}>" if len(data) > 4 else "<>"


PROTOCOLS: dict[str, type[PostgreSQL] | type[MySQL]] = {"postgresql": PostgreSQL, "mysql": MySQL}


def _text(content: bytes) -> str:
    return " ".join(content.decode("utf-8", "replace").split())


class Counter:
    """Counts what passes between one client and its server."""

    def __init__(self, protocol: PostgreSQL | MySQL, trips: Trips) -> None:
        self._protocol = protocol
        self._trips = trips
        self._asked = b""
        self._logged_in = False

    def asked(self, data: bytes) -> None:
        """Note bytes of the client."""
        self._asked += data

    def answered(self, data: bytes) -> None:
        """Note bytes of the server: the first after a request complete a round trip."""
        if self._asked and self._logged_in:
            self._trips.requests.append(self._protocol.describe(self._asked))
        self._asked = b""
        self._logged_in = self._protocol.answered(data)


class Proxy(socketserver.ThreadingTCPServer):
    """Listens on a free local port; every connection is a :class:`Trips` in ``connections``, oldest first."""

    daemon_threads = True

    def __init__(self, engine: str, host: str, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.engine = engine
        self.target = (host, port)
        self.connections: list[Trips] = []

    @property
    def port(self) -> int:
        """The port to connect to."""
        return int(self.server_address[1])


class _Handler(socketserver.BaseRequestHandler):
    server: Proxy

    def handle(self) -> None:
        trips = Trips()
        self.server.connections.append(trips)
        counter = Counter(PROTOCOLS[self.server.engine](), trips)
        with socket.create_connection(self.server.target) as upstream:
            for end in (upstream, self.request):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _pass_on(self.request, upstream, counter)


def _pass_on(client: socket.socket, server: socket.socket, counter: Counter) -> None:
    """Pass bytes both ways until one end closes."""
    while True:
        # The server's first: what it has sent is the answer to what was asked before.
        ready, _, _ = select.select([server, client], [], [])
        source = server if server in ready else client
        try:
            data = source.recv(CHUNK)
        except ConnectionResetError:
            return
        if not data:
            return
        if source is server:
            counter.answered(data)
            client.sendall(data)
        else:
            counter.asked(data)
            server.sendall(data)


@contextmanager
def running_proxy(engine: str, host: str, port: int) -> Iterator[Proxy]:
    """Give a proxy that serves until the end of the block."""
    with Proxy(engine, host, port) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
