"""LightGCN-PyTorch: an epoch, or so many steps of it (0: all).

Arguments: folder of its modules, file of arrays, JSON of its command line's options, steps.

Its dataset, model, loss and sampler are used (in C++ where that compiles). The sampler draws for a
whole epoch at once, which counts as a whole; it rounds down to as many pairs for each user.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import redirect_stdout
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from protocol import serve
from scipy.sparse import csr_matrix, save_npz

FOLDER, ARRAYS, SETTINGS, STEPS = sys.argv[1:]
sys.path.insert(0, FOLDER)
# It reads the command line as it is imported.
sys.argv[1:] = [f"--{name}={value}" for name, value in json.loads(SETTINGS).items()]
with redirect_stdout(sys.stderr):  # it talks; standard output is for the protocol
    import utils
    import world
    from dataloader import Loader
    from model import LightGCN


def files(arrays: Any, folder: str) -> None:
    """A line for each user: the user and the items; the test file only says how many items.

    The normalised graph lies beside them, where it would keep it: out of dictionaries it takes
    14 GB to make Gowalla's.
    """
    histories: dict[int, list[str]] = {}
    for user, item in zip(arrays["rows"].tolist(), arrays["items"].tolist(), strict=True):
        histories.setdefault(user, []).append(str(item))
    lines = [" ".join([str(user), *items]) for user, items in histories.items()]
    (Path(folder) / "train.txt").write_text("\n".join(lines) + "\n")
    (Path(folder) / "test.txt").write_text(f"0 {int(arrays['n_items']) - 1}\n")
    users, n_users = arrays["rows"], int(arrays["n_users"])
    items, n = arrays["items"] + n_users, n_users + int(arrays["n_items"])
    row, column = np.concatenate([users, items]), np.concatenate([items, users])
    degree = np.bincount(row, minlength=n)
    weight = 1.0 / np.sqrt(degree[row] * degree[column])
    graph = csr_matrix((weight.astype(np.float32), (row, column)), (n, n))
    save_npz(Path(folder) / "s_pre_adj_mat.npz", graph)


def main(steps: int) -> None:
    """Build everything, then serve: seconds of a whole epoch, out of ``steps`` of it."""
    with TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
        files(np.load(ARRAYS), folder)
        utils.set_seed(world.seed)
        data = Loader(path=folder)
        model = LightGCN(world.config, data)
    model.train()
    step = utils.BPRLoss(model, world.config).stageOne

    def once() -> dict[str, float]:
        begin, cpu = time.perf_counter(), time.process_time()
        drawn = torch.from_numpy(np.asarray(utils.UniformSample_original(data))).long()
        columns = utils.shuffle(*drawn.T)
        sampled, cpu_sampled = time.perf_counter(), time.process_time()
        whole = -(-len(drawn) // world.config["bpr_batch_size"])
        done = min(steps or whole, whole)
        losses = [step(*batch) for batch in islice(utils.minibatch(*columns), done)]
        end, cpu_end = time.perf_counter(), time.process_time()
        return {
            "seconds": sampled - begin + (end - sampled) * whole / done,
            "cpu_seconds": cpu_sampled - cpu + (cpu_end - cpu_sampled) * whole / done,
            "sampling_seconds": round(sampled - begin, 3),
            "sampler_compiled": utils.sample_ext,
            "steps": done,
            "steps_of_an_epoch": whole,
            "loss": sum(losses) / done,
        }

    serve(once)


main(int(STEPS))
