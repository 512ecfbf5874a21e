"""Runs a command and ends its whole process group as soon as the parent is gone.

``python -m agenticrs.platform.tracking.guard COMMAND...`` with a pipe as standard input: when the
pipe closes (the parent stopped it, or was killed itself) the group is ended. It must be started
in a session of its own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

_GRACE = 5.0


def main(command: list[str]) -> int:
    """Run the command; return its exit status."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 (given by our parent)
    signal.signal(signal.SIGTERM, lambda *_: None)  # the group's SIGTERM is for the others
    parent_gone = threading.Event()
    watch = threading.Thread(target=_end_with_parent, args=(child, parent_gone), daemon=True)
    watch.start()
    status = child.wait()
    if parent_gone.is_set():
        watch.join()  # it ends with the whole group
    os.killpg(0, signal.SIGTERM)  # workers that outlived the command
    return status


def _end_with_parent(child: subprocess.Popen[bytes], parent_gone: threading.Event) -> None:
    while os.read(0, 1):
        pass
    parent_gone.set()
    os.killpg(0, signal.SIGTERM)
    deadline = time.monotonic() + _GRACE
    while child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
