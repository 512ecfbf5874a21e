"""What a cluster can give, and what a job may therefore ask of it. Pure arithmetic.

A request larger than any node would wait for ever without a word, so it is cut to what there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from agenticrs.platform.jobs.job import Resources


@dataclass(frozen=True)
class Capacity:
    """CPUs and GPUs of all nodes together, and of the largest node."""

    cpus: float
    gpus: float
    node_cpus: float
    node_gpus: float

    @classmethod
    def of_nodes(cls, nodes: Iterable[Mapping[str, Any]]) -> Capacity:
        """From Ray's list of nodes; dead ones do not count."""
        alive = [node["Resources"] for node in nodes if node["Alive"]]
        cpus = [float(resources.get("CPU", 0.0)) for resources in alive]
        gpus = [float(resources.get("GPU", 0.0)) for resources in alive]
        return cls(sum(cpus), sum(gpus), max(cpus, default=0.0), max(gpus, default=0.0))

    def fit(self, wanted: Resources) -> tuple[Resources, str]:
        """The request cut to what one node has, and the reason ("" when nothing was cut)."""
        reasons = []
        gpus = wanted.gpus
        if gpus > 0 and self.node_gpus <= 0:
            gpus = 0.0
            reasons.append(f"the cluster has no GPU for the share of {wanted.gpus:g}: CPU instead")
        elif gpus > self.node_gpus:
            gpus = self.node_gpus
            reasons.append(f"no node has {wanted.gpus:g} GPUs: {gpus:g} instead")
        cpus = wanted.cpus
        if cpus > self.node_cpus > 0:
            cpus = self.node_cpus
            reasons.append(f"no node has {wanted.cpus:g} CPUs: {cpus:g} instead")
        return replace(wanted, cpus=cpus, gpus=gpus), "; ".join(reasons)

    def holds(self, running: Iterable[Resources], one_more: Resources) -> bool:
        """Whether one more job may start beside those that run; an idle cluster always may."""
        together = [*running, one_more]
        if len(together) == 1:
            return True
        cpus = sum(resources.cpus for resources in together)
        gpus = sum(resources.gpus for resources in together)
        # Shares like 0.1 do not add up exactly.
        return cpus <= self.cpus + 1e-6 and gpus <= self.gpus + 1e-6
