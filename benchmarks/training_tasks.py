"""What ``training.py`` compares: an agent with its config, and a peer with its settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Checkout:
    """A peer that is no package but a repository: where it is, and which folder has its modules."""

    url: str
    folder: str


CHECKOUTS = {
    "SASRec.pytorch": Checkout("https://github.com/pmixer/SASRec.pytorch", "python"),
    "LightGCN-PyTorch": Checkout("https://github.com/gusye1234/LightGCN-PyTorch", "code"),
}


@dataclass(frozen=True)
class Task:
    """An agent's training beside a peer's. ``title`` names the row."""

    title: str
    agent: str
    config: Mapping[str, Any]
    peer: str
    """Its package, or its repository among ``CHECKOUTS``."""
    data: Literal["ml-1m", "gowalla"] = "ml-1m"
    epochs: int = 1
    """Of one fit, which counts as a whole (implicit, LensKit)."""
    script: str = "training.py"
    """The peer's, in ``peers/``; all others count epoch by epoch."""
    model: str = ""
    """RecBole's class."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The peer's, where an epoch counts."""
    steps: int | None = None
    """Most steps of the peer's epoch that are really done."""
    our_steps: int | None = None
    """Most of ours."""
    note: str = ""

    def packages(self, torch_version: str) -> tuple[str, ...]:
        """What the peer's script needs; a repository runs on the same torch as ours."""
        if self.peer not in CHECKOUTS:
            return (self.peer,)
        return (f"torch=={torch_version}", *_OF_REPOSITORIES)


_OF_REPOSITORIES = ("scipy", "pandas", "scikit-learn", "cppimport", "pybind11", "setuptools")
FACTORS = {"embedding_size": 64, "batch_size": 2048}
GRAPH = {**FACTORS, "layers": 3, "loss": "bpr", "negatives": 256, "temperature": 0.0}
BATCHES = {"embedding_size": 64, "train_batch_size": 2048}
SHARED_NEGATIVES = "ours: 256 negatives, shared by the batch; the peer: one for each positive"
GRAPH_OPTIONS = {"bpr_batch": 2048, "recdim": 64, "layer": 3}
RECBOLE = "recbole_training.py"
TASKS = {
    "bpr": Task("bpr: 2 epochs, ML-1M", "bpr", {**FACTORS, "negatives": 1}, "implicit", epochs=2),
    "ials": Task("ials: 2 epochs, ML-1M", "ials", {"embedding_size": 64}, "implicit", epochs=2),
    "ease": Task("ease: fit, ML-1M", "ease", {"l2": 300.0}, "lenskit"),
    "bpr-recbole": Task(
        "bpr: an epoch, ML-1M",
        "bpr",
        {**FACTORS, "negatives": 1},
        "recbole",
        script=RECBOLE,
        model="BPR",
        settings=BATCHES,
    ),
    "sasrec-recbole": Task(
        "sasrec: an epoch, ML-1M",
        "sasrec",
        {
            "embedding_size": 64,
            "layers": 2,
            "heads": 1,
            "max_length": 50,
            "dropout": 0.3,
            "loss": "softmax",
            "batch_size": 40,
        },
        "recbole",
        script=RECBOLE,
        model="SASRec",
        settings={
            "hidden_size": 64,
            "n_layers": 2,
            "n_heads": 1,
            "inner_size": 128,
            "hidden_dropout_prob": 0.3,
            "attn_dropout_prob": 0.3,
            "loss_type": "CE",
            "MAX_ITEM_LIST_LENGTH": 50,
            "train_batch_size": 2000,
        },
        steps=3,
        note="an epoch predicts every item after a user's first once, 2,000 of them a step: ours "
        "all places of 40 windows of 50 items, RecBole the last one of 2,000 windows",
    ),
    "lightgcn-recbole": Task(
        "lightgcn: an epoch, ML-1M",
        "lightgcn",
        GRAPH,
        "recbole",
        script=RECBOLE,
        model="LightGCN",
        settings={**BATCHES, "n_layers": 3},
        steps=10,
        our_steps=10,
        note=SHARED_NEGATIVES,
    ),
    "lightgcn-gowalla": Task(
        "lightgcn: an epoch, Gowalla",
        "lightgcn",
        GRAPH,
        "recbole",
        data="gowalla",
        script=RECBOLE,
        model="LightGCN",
        settings={**BATCHES, "n_layers": 3},
        steps=10,
        our_steps=10,
        note=SHARED_NEGATIVES,
    ),
    "sasrec-pytorch": Task(
        "sasrec: an epoch, ML-1M, BCE",
        "sasrec",
        {
            "embedding_size": 64,
            "layers": 2,
            "heads": 1,
            "max_length": 200,
            "dropout": 0.2,
            "norm": "post",
            "loss": "bce",
            "negatives": 256,
            "learning_rate": 1e-3,
            "batch_size": 128,
        },
        "SASRec.pytorch",
        script="sasrec_pytorch.py",
        settings={
            "hidden_units": 64,
            "num_blocks": 2,
            "num_heads": 1,
            "maxlen": 200,
            "dropout_rate": 0.2,
            "lr": 1e-3,
            "batch_size": 128,
        },
        steps=6,
        our_steps=16,
        note="128 windows of at most 200 items a step on both sides. An epoch predicts ours every "
        "item after a user's first, the peer's the newest 200 of each user at most; ours 256 "
        "negatives, shared by the batch, the peer's one for each place, drawn by a process beside",
    ),
    "lightgcn-pytorch": Task(
        "lightgcn: an epoch, ML-1M",
        "lightgcn",
        GRAPH,
        "LightGCN-PyTorch",
        script="lightgcn_pytorch.py",
        settings=GRAPH_OPTIONS,
        steps=10,
        our_steps=10,
        note=SHARED_NEGATIVES,
    ),
    "lightgcn-pytorch-gowalla": Task(
        "lightgcn: an epoch, Gowalla",
        "lightgcn",
        GRAPH,
        "LightGCN-PyTorch",
        data="gowalla",
        script="lightgcn_pytorch.py",
        settings=GRAPH_OPTIONS,
        steps=10,
        our_steps=10,
        note=SHARED_NEGATIVES,
    ),
}
