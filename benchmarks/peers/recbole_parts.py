"""What the scripts that drive RecBole share: names that it misses, and its log and settings.

RecBole is of 2023: names that NumPy 2 and SciPy 1.13 took away are put back, or it would not start.
Import this before it.
"""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

for name, kind in {
    "float_": np.float64,
    "complex_": np.complex128,
    "unicode_": np.str_,
}.items():
    setattr(np, name, kind)
if not hasattr(scipy.sparse.dok_matrix, "_update"):
    # The dictionary inside has the same keys; update() itself is closed to callers.
    scipy.sparse.dok_matrix._update = lambda self, entries: self._dict.update(entries)


def quiet() -> None:
    """Keep RecBole from talking, and from reading the command line."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")  # of pandas and torch, about what RecBole still uses
    sys.argv = sys.argv[:1]


def write_log(folder: str, rows: np.ndarray, items: np.ndarray) -> dict[str, Any]:
    """Write the events (oldest first) as RecBole reads them; settings that say where they are."""
    place = Path(folder) / "log"
    place.mkdir()
    columns = zip(rows.tolist(), items.tolist(), strict=True)
    lines = [f"{user}\t{item}\t{time}" for time, (user, item) in enumerate(columns)]
    head = "user_id:token\titem_id:token\ttimestamp:float"
    (place / "log.inter").write_text("\n".join([head, *lines]) + "\n")
    return {
        "data_path": folder,
        "checkpoint_dir": folder,
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "use_gpu": False,
        "show_progress": False,
    }
