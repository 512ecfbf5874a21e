from __future__ import annotations

import subprocess
import sys

LEAVES_WHILE_TORCH_WORKS = """
import time, torch
from agenticrs.agents.timed_calls import TimedCalls

def busy():
    x, end = torch.rand(200, 200), time.monotonic() + 1.0
    while time.monotonic() < end:
        x = torch.cat([x.clone()] * 4).softmax(1)[:200]

try:
    TimedCalls().call("a", busy, 0.05)
except TimeoutError:
    print("left behind")
"""


def test_a_process_that_ends_while_a_thread_is_inside_torch_is_not_aborted() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEAVES_WHILE_TORCH_WORKS],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "left behind\n"
    assert done.returncode == 0, done.stderr
