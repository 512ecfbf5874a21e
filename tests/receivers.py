"""Real servers on this machine that take messages: one speaks HTTP, one SMTP."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Hook:
    """What a web server was sent, and what it answers: each status of ``answers``, then 204."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@contextmanager
def web_server(answers: list[int] | None = None) -> Iterator[Hook]:
    """A web server that keeps what it is sent; a 3xx points at itself."""
    hook = Hook(answers=list(answers or ()))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            hook.requests.append(({k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(hook.answers.pop(0) if hook.answers else 204)
            self.send_header("Location", hook.url)
            self.end_headers()

        def do_GET(self) -> None:
            hook.requests.append(({}, b"followed"))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hook.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hook
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Mailbox:
    """What a mail server took: (sender, receivers, letter); whom it refuses."""

    url: str = ""
    refuses: set[str] = field(default_factory=set)
    offers_login: bool = False
    letters: list[tuple[str, list[str], str]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


@contextmanager
def mail_server() -> Iterator[Mailbox]:
    """A mail server that keeps every letter. It has no TLS."""
    box = Mailbox()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.say("220 ready")
            sender, receivers = "", list[str]()
            while line := self.rfile.readline().decode().rstrip():
                box.said.append(line)
                word = line.split(" ")[0].split(":")[0].upper()
                if word == "EHLO":
                    self.say("250-here\r\n250 AUTH PLAIN LOGIN" if box.offers_login else "250 here")
                elif word == "MAIL":
                    sender, receivers = _address(line), []
                    self.say("250 ok")
                elif word == "RCPT" and _address(line) in box.refuses:
                    self.say("550 nobody of that name")
                elif word == "RCPT":
                    receivers.append(_address(line))
                    self.say("250 ok")
                elif word == "DATA":
                    self.say("354 go on")
                    lines = iter(lambda: self.rfile.readline().decode().rstrip("\r\n"), ".")
                    box.letters.append((sender, receivers, "\n".join(lines)))
                    self.say("250 taken")
                elif word == "QUIT":
                    self.say("221 bye")
                    return
                else:
                    self.say("250 ok")

        def say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    box.url = f"smtp://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield box
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _address(line: str) -> str:
    return line[line.index("<") + 1 : line.index(">")]
