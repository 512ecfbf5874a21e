"""A scripted endpoint that speaks OpenAI's chat completions: real HTTP, answers made before."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

USAGE = {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200}


@dataclass(frozen=True)
class Reply:
    """One answer of the endpoint: a status, a body (text is sent as it is), headers."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    hangs: bool = False
    """Only answers when the server is closed."""


def answer(
    content: Any,
    *,
    finish: str = "stop",
    refusal: str | None = None,
    usage: Mapping[str, Any] | None = USAGE,
) -> Reply:
    """What a model says: a text, or an object as JSON."""
    text = content if isinstance(content, str) or content is None else json.dumps(content)
    message = {"role": "assistant", "content": text, "refusal": refusal}
    body = {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "scripted",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
    }
    return Reply(body if usage is None else {**body, "usage": usage})


def error(status: int, message: str = "no", **headers: str) -> Reply:
    """An error of the endpoint; ``retry_after_ms`` becomes the header of that name."""
    body = {"error": {"message": message, "type": "scripted", "param": None, "code": None}}
    return Reply(body, status, {name.replace("_", "-"): value for name, value in headers.items()})


def hang() -> Reply:
    """Never an answer while anybody waits."""
    return Reply("", hangs=True)


class Endpoint:
    """Gives its replies in order and keeps what it was asked."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.base_url = ""
        self.closed = threading.Event()
        self._lock = threading.Lock()

    def script(self, *replies: Reply) -> None:
        """What comes next."""
        self.replies += replies

    def texts(self, place: int = -1) -> str:
        """All messages of one question, as one text."""
        return "\n".join(message["content"] for message in self.asked[place]["messages"])

    def next_reply(self, asked: dict[str, Any], key: str) -> Reply:
        """The next one; when nothing is left, a refusal that no client repeats."""
        with self._lock:
            self.asked.append(asked)
            self.keys.append(key)
            return self.replies.pop(0) if self.replies else error(418, "nothing more is scripted")


@contextmanager
def endpoint() -> Iterator[Endpoint]:
    """A running endpoint."""
    state = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            reply = state.next_reply(json.loads(body), self.headers.get("authorization", ""))
            if reply.hangs:
                state.closed.wait(30)
                return
            text = reply.body if isinstance(reply.body, str) else json.dumps(reply.body)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.base_url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        state.closed.set()
        server.shutdown()
        thread.join()
        server.server_close()
