"""One replica of the service, as small as it can be: a scheduler on a world, in a process.

    python -m tests.evolution.replica HOME SHARED

HOME is its own; the database, MLflow's fake, datasets and cycles are those of SHARED.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import torch

from agenticrs.evolution.controller import Controller
from agenticrs.evolution.scheduling.scheduler import Scheduler
from agenticrs.evolution.services import Services
from agenticrs.platform.data.store import DatasetStore
from agenticrs.platform.database import make_engine
from agenticrs.platform.jobs.inline import InlineRunner
from agenticrs.platform.settings import load_settings
from agenticrs.platform.tracking.memory import MemoryTracking


def main(home: Path, shared: Path) -> None:
    """Carry out schedules until somebody kills it."""
    torch.set_num_threads(1)
    home.mkdir()
    for name in ("data", "cycles"):
        (shared / name).mkdir(exist_ok=True)
        (home / name).symlink_to(shared / name)
    settings = load_settings(
        home=home, database_url=f"sqlite:///{shared / 'registry.db'}", trials=2
    )
    services = Services(
        make_engine(settings.registry_url),
        MemoryTracking(shared / "mlflow"),
        DatasetStore(home / "data"),
        settings,
        InlineRunner,
    )
    Scheduler(Controller(services), look_seconds=0.2, leader_seconds=60.0).start()
    threading.Event().wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
