"""A TCP proxy in front of a MongoDB server that simulates network faults.

It can lose replies, slow the line down, close connections, or hang. The first four bytes of a
MongoDB message are its length. So the proxy sees single commands, and a test names those that fail.
"""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable

import bson

PIECE = 4096  # bytes that a slow line forwards at once


class Proxy:
    """Listens on a loopback port, and forwards whole messages.

    :param port: the server's port on the loopback interface.
    """

    def __init__(self, port: int) -> None:
        self.faults: list[Callable[[bytes], str]] = []  # called with each request; "" is no fault
        self.fault_count = 0
        self.greeting: dict[str, object] = {}  # fields to claim in the server's greeting
        self.delay = 0.0  # seconds before each reply is forwarded
        self.held: list[bytes] = []  # replies that wait for `release`
        self._holds = False
        self.rate = 0.0  # bytes a second in each direction, for all connections; 0: no limit
        self._free_at = {"requests": 0.0, "replies": 0.0}  # when the line has forwarded all
        self._lock = threading.Lock()
        self._server_port = port
        self._released = threading.Event()
        self._waiting = threading.Event()
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    @property
    def uri(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}/?directConnection=true"

    def fail(self, command: str, how: str, times: int = 1) -> None:
        """Let the next `times` commands of this name fail.

        :param how: "close" closes the connection before the server gets the command. "lose" closes
            it after the server has applied the command, without the reply. "hang" holds the reply
            back until `release`.
        """
        remaining = [times]
        name = command.encode() + b"\x00"

        def fault(request: bytes) -> str:
            # In an OP_MSG (16 bytes of header, 4 of flags, 1 of kind, 4 of length, 1 of type)
            # the body's first field is the command's name.
            if remaining[0] and request[26 : 26 + len(name)] == name:
                remaining[0] -= 1
                self.fault_count += 1
                return how
            return ""

        self.faults.append(fault)

    def hold(self) -> None:
        """Hold all replies back until `release` forwards them: the server is slow, not gone."""
        self._holds = True

    def claim_router(self, *, balanced: bool = False) -> str:
        """Greet as a mongos does, perhaps behind a load balancer; return the URI for that."""
        self.greeting = {"msg": "isdbgrid", "setName": None}
        if not balanced:
            return self.uri
        self.greeting["serviceId"] = bson.ObjectId()
        return f"mongodb://127.0.0.1:{self.port}/?loadBalanced=true"

    def refuse_pipelines(self) -> None:
        """Refuse updates with a pipeline, as an old server does."""

        def fault(request: bytes) -> str:
            # In such an update the field "u" is an array: type 4.
            has_pipeline = request[26:33] == b"update\x00" and b"\x04u\x00" in request
            self.fault_count += has_pipeline
            return "refuse" if has_pipeline else ""

        self.faults.append(fault)

    def release(self) -> None:
        """Forward all held replies, and end all faults."""
        self.faults.clear()
        self._holds = False
        released, self._released = self._released, threading.Event()
        released.set()

    def close(self) -> None:
        """End all faults and connections.

        The clients of the test may close later. Without a server each would wait for one for half
        a minute, to end its sessions. So new connections are forwarded until the process ends. A
        closed listener would also let the thread that accepts take the connections of another
        proxy, which gets the same file number.
        """
        self.release()
        self._waiting.set()
        end(*self._open)

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        threading.Thread(target=target, args=arguments, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._server_port))
        except OSError:
            client.close()
            return
        self._open += client, server
        for each in (client, server):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # How the replies to these requests will fail, and the event that ends their hang.
        doomed: dict[bytes, tuple[str, threading.Event]] = {}
        self._start(self._reply, client, server, doomed)
        try:
            while request := message(client):
                released = self._released  # read first: `release` ends the faults, then renews it
                fault = next((how for each in self.faults if (how := each(request))), "")
                if fault == "close":
                    break
                if fault == "refuse":
                    client.sendall(refusal(request))
                    continue
                if fault:
                    doomed[request[4:8]] = fault, released
                self._send(server, request, "requests")
        except OSError:
            pass
        end(client, server)

    def _send(self, connection: socket.socket, message: bytes, way: str) -> None:
        """Forward a message in pieces, at `rate`, until the receiver closes the connection."""
        rate = self.rate  # which the test may change meanwhile
        if not rate:
            connection.sendall(message)
            return
        for start in range(0, len(message), PIECE):
            piece = message[start : start + PIECE]
            with self._lock:
                now = time.monotonic()
                self._free_at[way] = max(now, self._free_at[way]) + len(piece) / rate
                wait = self._free_at[way] - now
            self._waiting.wait(wait)
            connection.sendall(piece)

    def _reply(
        self,
        client: socket.socket,
        server: socket.socket,
        doomed: dict[bytes, tuple[str, threading.Event]],
    ) -> None:
        """Forward replies. One request may have several."""
        try:
            while reply := message(server):
                released = self._released  # read before `_holds`, as `release` resets that first
                fault, released = doomed.get(reply[8:12], ("", released))
                if self._holds or fault == "hang":
                    self.held.append(reply)
                    released.wait()
                    self.held.remove(reply)
                if self.delay:
                    self._waiting.wait(self.delay)
                if fault:
                    break
                if self.greeting and b"\x10maxWireVersion\x00" in reply:
                    reply = with_fields(reply, self.greeting)
                self._send(client, reply, "replies")
        except OSError:
            pass
        end(client, server)


def end(*connections: socket.socket) -> None:
    """Close the connections, and wake the threads that read from them."""
    for each in connections:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()


def refusal(request: bytes) -> bytes:
    """Make the reply that the update must be a document."""
    error = "update: field u must be of BSON type object"
    body = bson.encode({"ok": 0.0, "code": 9, "codeName": "FailedToParse", "errmsg": error})
    size = 21 + len(body)
    return struct.pack("<i4s4siib", size, b"", request[4:8], 2013, 0, 0) + body


def with_fields(reply: bytes, fields: dict[str, object]) -> bytes:
    """Replace fields of a reply's document, which is the end of an OP_REPLY or an OP_MSG."""
    start = 36 if reply[12:16] == struct.pack("<i", 1) else 21
    body = bson.encode(bson.decode(reply[start:]) | fields)
    return struct.pack("<i", start + len(body)) + reply[4:start] + body


def message(connection: socket.socket) -> bytes:
    """Read one whole message, or return nothing if the other side has closed."""
    head = exactly(connection, 4)
    return head and head + exactly(connection, struct.unpack("<i", head)[0] - 4)


def exactly(connection: socket.socket, count: int) -> bytes:
    parts = []
    while count:
        part = connection.recv(min(count, 1 << 20))
        if not part:
            return b""
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
