"""A local HTTP server that keeps what it is sent and answers as the test wishes."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Receiver:
    """What came in, oldest first; ``status`` is the answer to the next requests, ``on_receive`` comes before it."""

    def __init__(self, port: int) -> None:
        self.url = f"json://127.0.0.1:{port}/hook"
        self.plain_url = f"http://127.0.0.1:{port}/beat"
        self.status = 200
        self.received: list[dict[str, str]] = []
        self.on_receive: Callable[[], None] | None = None

    @property
    def ids(self) -> list[str]:
        return [body.rpartition("Message: ")[2].strip() for body in self.bodies]

    @property
    def bodies(self) -> list[str]:
        return [message.get("message", "") for message in self.received]


@contextmanager
def receiving() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            if receiver.on_receive is not None:
                receiver.on_receive()
            receiver.received.append(json.loads(content))
            self.send_response(receiver.status)
            self.end_headers()

        def do_GET(self) -> None:
            receiver.received.append({"path": self.path})
            self.send_response(receiver.status)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Receiver(server.server_port)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
