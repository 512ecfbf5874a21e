"""RecBole: an epoch, or so many steps of it (0: all).

Arguments: model, file of arrays (oldest interactions first), JSON of settings, steps.

RecBole is of 2023: names that NumPy 2 and SciPy 1.13 took away are put back, or it would not start.
"""

from __future__ import annotations

import itertools
import json
import logging
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import scipy.sparse
from protocol import serve

for name, kind in {
    "float_": np.float64,
    "complex_": np.complex128,
    "unicode_": np.str_,
}.items():
    setattr(np, name, kind)
if not hasattr(scipy.sparse.dok_matrix, "_update"):
    # The dictionary inside has the same keys; update() itself is closed to callers.
    scipy.sparse.dok_matrix._update = lambda self, entries: self._dict.update(entries)

from recbole.config import Config  # noqa: E402
from recbole.data import create_dataset  # noqa: E402
from recbole.data.utils import create_samplers, get_dataloader  # noqa: E402
from recbole.trainer import Trainer  # noqa: E402
from recbole.utils import get_model, init_seed  # noqa: E402


class First:
    """The first batches of a loader, in the form that the trainer wants."""

    shuffle = True

    def __init__(self, loader: Any, steps: int) -> None:
        self._loader, self.steps = loader, min(steps or len(loader), len(loader))

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Any]:
        return itertools.islice(iter(self._loader), self.steps)


def main(model_name: str, path: str, settings: dict[str, Any], steps: int) -> None:
    """Build the model and loader, then serve: seconds of a whole epoch, out of ``steps`` of it."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")  # of pandas and torch, about what RecBole still uses
    arrays = np.load(path)
    with TemporaryDirectory() as folder, chdir(folder):  # TensorBoard's files go there, too
        place = Path(folder) / "log"
        place.mkdir()
        columns = zip(arrays["rows"].tolist(), arrays["items"].tolist(), strict=True)
        lines = [f"{user}\t{item}\t{time}" for time, (user, item) in enumerate(columns)]
        head = "user_id:token\titem_id:token\ttimestamp:float"
        (place / "log.inter").write_text("\n".join([head, *lines]) + "\n")
        sequential = model_name == "SASRec"
        fixed = {
            "data_path": folder,
            "checkpoint_dir": folder,
            "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
            "use_gpu": False,
            "show_progress": False,
            "train_neg_sample_args": None if sequential else {"distribution": "uniform"},
            "eval_args": {
                "split": {"RS": [1.0, 0.0, 0.0]},
                "group_by": "none",
                "order": "TO" if sequential else "RO",
                "mode": "full",
            },
        }
        sys.argv = sys.argv[:1]  # RecBole reads the command line
        config = Config(model=model_name, dataset="log", config_dict={**fixed, **settings})
        init_seed(0, reproducibility=False)
        dataset = create_dataset(config)
        train = dataset.build()[0]
        sampler = create_samplers(config, dataset, [train, train, train])[0]
        loader = get_dataloader(config, "train")(config, train, sampler, shuffle=True)
        model = get_model(model_name)(config, train)
        trainer = Trainer(config, model)
    first = First(loader, steps)

    def once() -> dict[str, float]:
        begin, cpu = time.perf_counter(), time.process_time()
        loss = trainer._train_epoch(first, 0)
        whole = len(loader) / first.steps
        return {
            "seconds": (time.perf_counter() - begin) * whole,
            "cpu_seconds": (time.process_time() - cpu) * whole,
            "steps": first.steps,
            "steps_of_an_epoch": len(loader),
            "loss": loss / first.steps,
        }

    serve(once)


main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4]))
