"""A world as arrays, for RecSim (``peers/recsim_stepping.py``) in an environment of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from sidebyside import Peer

from agenticrs.agents.simulation.population import Population
from agenticrs.agents.simulation.simulate import Rules

# Without what RecSim's agents would want: TensorFlow 1's successors and Dopamine.
PACKAGES = (
    "--no-deps",
    "recsim==0.2.4",
    "gym==0.26.2",
    "gym-notices==0.0.8",
    "cloudpickle==3.1.1",
    "six==1.17.0",
    "numpy==2.2.6",
)
_LAYERS = ("first", "bias", "second", "rest")


@contextmanager
def recsim(population: Population, rules: Rules) -> Iterator[Peer]:
    """RecSim with these users, each of whom spends one visit whenever it is asked."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "world.npz"
        np.savez(file, **arrays_of(population, rules))  # type: ignore[arg-type]
        with Peer("recsim_stepping.py", PACKAGES, (str(file),), 1) as peer:
            yield peer


def arrays_of(population: Population, rules: Rules) -> dict[str, Any]:
    """Items, users and the response model; everything that is no array is JSON in ``told``."""
    world = population.world
    signals, response = world.signals, world.response
    arrays = {f"items.{f.name}": getattr(world.items, f.name) for f in fields(world.items)}
    for f in fields(population.persona):
        arrays[f"persona.{f.name}"] = getattr(population.persona, f.name)
    for name in ("first", "second"):
        network = getattr(response, name)
        arrays |= {
            f"{name}.{part}": layer for part, layer in zip(_LAYERS, network.layers, strict=True)
        }
        arrays |= {f"{name}.scale": network.scale, f"{name}.offset": network.offset}
    arrays |= {"centre": response.centre, "spread": response.spread, "within": signals.within}
    arrays |= {"attention": population.attention(), "impatience": population.impatience()}
    told = {
        "users": len(population),
        "items": world.n_items,
        "measure": signals.measure,
        "reactions": signals.reactions,
        "shown": signals.shown,
        "timed": signals.timed,
        "n_levels": signals.n_levels,
        "low": signals.low,
        "high": signals.high,
        "mood": world.mood,
        "priors": asdict(world.priors),
        "page_size": rules.page_size,
        "most_pages": rules.most_pages,
    }
    return {name: part.numpy() for name, part in arrays.items()} | {"told": json.dumps(told)}
