"""What makes an artifact folder an MLflow model: an ``MLmodel`` file with a flavour of our own.

With it MLflow's pages show the folder as a model; nobody can load code through it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from agenticrs.registry.tables import utc_now

FOLDER = "model"


def model_folder(files: Mapping[str, bytes], **flavour: Any) -> dict[str, bytes]:
    """The files of a version under ``model/``, with the ``MLmodel`` that describes them."""
    # JSON is YAML: no writer for a second format is needed.
    described = {
        "artifact_path": FOLDER,
        "flavors": {"agenticrs": {name: value for name, value in flavour.items()}},
        "utc_time_created": utc_now().strftime("%Y-%m-%d %H:%M:%S.%f"),
    }
    content = {**files, "MLmodel": json.dumps(described, indent=1).encode()}
    return {f"{FOLDER}/{name}": data for name, data in content.items()}


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as MLflow parameters: ``{"weights": {"bpr": 1}}`` -> ``weights.bpr``."""
    parameters: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            parameters |= flat(value, f"{prefix}{name}.")
        else:
            parameters[f"{prefix}{name}"] = value
    return parameters


def metric_names(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The numbers among the metrics, named as MLflow takes them (``ndcg_at_10``)."""
    return {
        name.replace("@", "_at_"): float(value)
        for name, value in metrics.items()
        if isinstance(value, int | float)
    }
