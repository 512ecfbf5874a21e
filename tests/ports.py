"""Ports for servers that tests start in processes of their own."""

from __future__ import annotations

import itertools
import os
import socket

# Below the ports that the system gives to connections going out (from 32768 on), and above those
# of Ray's workers (up to 19999): until the server has started, nobody comes by and takes it.
_FIRST, _EACH, _PROCESSES = 20_000, 100, 120
_next = itertools.count()


def free_port() -> int:
    """A port on which nobody listens, each time another one, and none of another test process's."""
    own = _FIRST + os.getpid() % _PROCESSES * _EACH
    while True:
        port = own + next(_next) % _EACH
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
