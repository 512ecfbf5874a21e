"""RecBole: full-ranking evaluation of a matrix factorisation. Arguments: file of arrays.

Scores of all items by given vectors, the seen masked, the lists, ten metrics: all that
``Trainer.evaluate`` does. Its batches are as many users as ours; by default it takes one at a time.
"""

from __future__ import annotations

import sys
import time
from contextlib import chdir
from tempfile import TemporaryDirectory

import numpy as np
import torch
from protocol import serve
from recbole_parts import quiet, write_log

# isort: split
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.trainer import Trainer
from recbole.utils import get_model, init_seed


def main(path: str) -> None:
    """Build the dataset, put the vectors into the model, then serve."""
    quiet()
    arrays = dict(np.load(path))
    with TemporaryDirectory() as folder, chdir(folder):
        rows = np.concatenate([arrays["rows"], arrays["users_held_out"]])
        items = np.concatenate([arrays["items"], arrays["items_held_out"]])
        settings = {
            **write_log(folder, rows, items),
            "embedding_size": arrays["users"].shape[1],
            "metrics": ["NDCG", "Recall", "Precision", "Hit", "MRR"],
            "topk": [10, 50],
            "valid_metric": "NDCG@10",
            "metric_decimal_place": 12,
            "eval_batch_size": int(arrays["users_at_once"] * (items.max() + 2)),
            "eval_args": {
                "split": {"LS": "valid_only"},
                "group_by": "user",
                "order": "TO",
                "mode": "full",
            },
        }
        config = Config(model="BPR", dataset="log", config_dict=settings)
        init_seed(0, reproducibility=False)
        dataset = create_dataset(config)
        train, valid, _ = data_preparation(config, dataset)
        model = get_model("BPR")(config, train.dataset)
        trainer = Trainer(config, model)
        trainer.eval_collector.data_collect(train)
    # Internal numbers follow the order of appearance, zero is the pad.
    for field, table, name in (
        ("user_id", model.user_embedding, "users"),
        ("item_id", model.item_embedding, "vectors"),
    ):
        own = dataset.field2id_token[field][1:].astype(np.int64)
        table.weight.data[1:] = torch.from_numpy(arrays[name][own])

    def once() -> dict[str, float]:
        begin, cpu = time.perf_counter(), time.process_time()
        found = trainer.evaluate(valid, load_best_model=False)
        return {
            "seconds": time.perf_counter() - begin,
            "cpu_seconds": time.process_time() - cpu,
            "ndcg@10": float(found["ndcg@10"]),
            "recall@50": float(found["recall@50"]),
        }

    serve(once)


main(sys.argv[1])
