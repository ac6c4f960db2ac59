"""A TCP proxy that adds a constant latency to replies of any size and number of pieces."""

import contextlib
import queue
import socket
import threading
import time

__all__ = ["LatencyProxy"]


class LatencyProxy:
    """Forwards bytes to a server at once, and the server's replies `seconds` later.

    :param port: port of the server on the loopback interface.
    """

    def __init__(self, port: int, seconds: float) -> None:
        self._server_port = port
        self._seconds = seconds
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.uri = f"mongodb://127.0.0.1:{self._listener.getsockname()[1]}/?directConnection=true"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._server_port))
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            replies: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
            for target, arguments in (
                (pass_on, (client, server)),
                (receive, (server, replies, self._seconds)),
                (send_in_time, (replies, client)),
            ):
                threading.Thread(target=target, args=arguments, daemon=True).start()


def pass_on(source: socket.socket, sink: socket.socket) -> None:
    try:
        while piece := source.recv(1 << 18):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        sink.close()


def receive(
    source: socket.socket, replies: "queue.SimpleQueue[tuple[float, bytes]]", delay: float
) -> None:
    piece = b"..."
    while piece:
        try:
            piece = source.recv(1 << 18)
        except OSError:
            piece = b""
        replies.put((time.monotonic() + delay, piece))
    source.close()


def send_in_time(replies: "queue.SimpleQueue[tuple[float, bytes]]", sink: socket.socket) -> None:
    with sink, contextlib.suppress(OSError):
        while True:
            moment, piece = replies.get()
            time.sleep(max(moment - time.monotonic(), 0))
            if not piece:
                return
            sink.sendall(piece)
