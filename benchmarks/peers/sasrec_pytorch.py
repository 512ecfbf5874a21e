"""SASRec.pytorch: an epoch, or so many steps of it (0: all).

Arguments: folder of its modules, file of arrays (oldest first), JSON of settings, steps.

Its script trains as it is imported, and so only its model and its sampler are used: a step is gone
as there, by Adam, on the mean binary losses of positives and negatives. One process of its own
samples ahead, also while the clock stands.
"""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from typing import Any

import numpy as np
import torch
from protocol import serve

sys.path.insert(0, sys.argv[1])
from model import SASRec
from utils import WarpSampler


def main(path: str, settings: dict[str, Any], steps: int) -> None:
    """Build model and sampler, then serve: seconds of a whole epoch, out of ``steps`` of it."""
    arrays = np.load(path)
    n_users, n_items = int(arrays["n_users"]), int(arrays["n_items"])
    # Users and items count from one: zero is the pad.
    histories: dict[int, list[int]] = {user: [] for user in range(1, n_users + 1)}
    for user, item in zip(arrays["rows"].tolist(), arrays["items"].tolist(), strict=True):
        histories[user + 1].append(item + 1)
    torch.manual_seed(0)
    np.random.seed(0)
    length, batch_size = settings["maxlen"], settings["batch_size"]
    sampler = WarpSampler(histories, n_users, n_items, batch_size, length)
    model = SASRec(n_users, n_items, Namespace(**settings, device="cpu", norm_first=False))
    for weight in model.parameters():
        if weight.dim() > 1:
            torch.nn.init.xavier_normal_(weight.data)
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=settings["lr"], betas=(0.9, 0.98))
    criterion = torch.nn.BCEWithLogitsLoss()
    whole = -(-n_users // batch_size)
    done = min(steps or whole, whole)

    def once() -> dict[str, float]:
        begin, cpu, losses, places = time.perf_counter(), time.process_time(), 0.0, 0
        for _ in range(done):
            users, seen, right, wrong = (np.array(part) for part in sampler.next_batch())
            for_right, for_wrong = model(users, seen, right, wrong)
            real = np.where(right != 0)
            optimizer.zero_grad()
            loss = criterion(for_right[real], torch.ones_like(for_right[real]))
            loss = loss + criterion(for_wrong[real], torch.zeros_like(for_wrong[real]))
            loss.backward()
            optimizer.step()
            losses += loss.item()
            places += len(real[0])
        return {
            "seconds": (time.perf_counter() - begin) * whole / done,
            "cpu_seconds": (time.process_time() - cpu) * whole / done,
            "steps": done,
            "steps_of_an_epoch": whole,
            "predictions_of_an_epoch": round(places * whole / done),
            "loss": losses / done,
        }

    serve(once)
    sampler.close()


main(sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4]))
