"""Asks a server of ``serving.py`` for some seconds, in a process of its own; loads nothing heavy.

    python serving_load.py PORT CLIENTS SECONDS USERS.json

Prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import uvloop

K = 10


async def client(port: int, users: list[str], until: float, found: list[Any]) -> None:
    """One keep-alive connection: a request, its answer, the next; notes (seconds, status, body)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    turn = 0
    while time.perf_counter() < until:
        body = json.dumps({"user_id": users[turn % len(users)], "k": K}).encode()
        head = (
            "POST /v1/recommend HTTP/1.1\r\nhost: 127.0.0.1\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        begin = time.perf_counter()
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        content = await reader.readexactly(length)
        found.append((time.perf_counter() - begin, int(answer[9:12]), content))
        turn += 1
    writer.close()


def load(port: int, clients: int, seconds: float, people: list[str]) -> None:
    """Each client one request after another: prints what came of it."""
    found: list[Any] = []

    async def everybody() -> None:
        until = time.perf_counter() + seconds
        await asyncio.gather(
            *(client(port, people[c::clients], until, found) for c in range(clients))
        )

    begin = time.perf_counter()
    uvloop.run(everybody())
    spent = time.perf_counter() - begin
    times = sorted(1000 * one for one, _, _ in found)
    ranked = [json.loads(content) for _, status, content in found if status == 200]
    print(
        json.dumps(
            {
                "requests": len(found),
                "failed": sum(status != 200 for _, status, _ in found),
                "per_second": len(found) / spent,
                "p50_ms": times[len(times) // 2],
                "p99_ms": times[min(len(times) - 1, int(0.99 * len(times)))],
                "compositions": sorted({one.get("composition", 0) for one in ranked}),
                "full": all(len(one["items"]) == K for one in ranked),
            }
        )
    )


if __name__ == "__main__":
    port, clients, seconds, file = sys.argv[1:]
    load(int(port), int(clients), float(seconds), json.loads(Path(file).read_text()))
