"""Keeps Python's garbage collector from stopping a server.

A full collection looks at every object that is alive. With torch, SQLAlchemy and FastAPI loaded
that takes up to half a second, in which nobody is answered and agents run into their time limits.
"""

from __future__ import annotations

import gc


def look_at_new_objects_only() -> None:
    """Collect once, and never look again at what is alive now; for a server that is about to serve.

    What is alive now is still freed when nothing refers to it any more. Only cycles among these
    objects are not found: what serves must do without (a test of ``serving.py`` sees to it).
    """
    gc.collect()
    gc.freeze()
