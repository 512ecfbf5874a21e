"""What every peer's script does: run once when told so, and say how long it took."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable


def serve(once: Callable[[], dict[str, float] | None]) -> None:
    """Warm up, say so, then run for every line of standard input."""
    once()
    print(json.dumps({}), flush=True)
    for _ in sys.stdin:
        begin, cpu = time.perf_counter(), time.process_time()
        told = once() or {}
        seconds = {
            "seconds": time.perf_counter() - begin,
            "cpu_seconds": time.process_time() - cpu,
        }
        print(json.dumps({**seconds, **told}), flush=True)
