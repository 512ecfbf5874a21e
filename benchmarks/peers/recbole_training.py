"""RecBole: an epoch, or so many steps of it (0: all).

Arguments: model, file of arrays (oldest interactions first), JSON of settings, steps.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Iterator
from contextlib import chdir
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from protocol import serve
from recbole_parts import quiet, write_log

# isort: split
from recbole.config import Config
from recbole.data import create_dataset
from recbole.data.utils import create_samplers, get_dataloader
from recbole.trainer import Trainer
from recbole.utils import get_model, init_seed


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
    quiet()
    arrays = np.load(path)
    with TemporaryDirectory() as folder, chdir(folder):  # TensorBoard's files go there, too
        sequential = model_name == "SASRec"
        fixed = {
            **write_log(folder, arrays["rows"], arrays["items"]),
            "train_neg_sample_args": None if sequential else {"distribution": "uniform"},
            "eval_args": {
                "split": {"RS": [1.0, 0.0, 0.0]},
                "group_by": "none",
                "order": "TO" if sequential else "RO",
                "mode": "full",
            },
        }
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
