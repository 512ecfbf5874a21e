"""What Prometheus reads: requests, latencies, agents' failures, what serves."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from agenticrs.agents.runtime import NodeTrace


class Metrics:
    """One registry for one application, so that two of them in a process do not collide."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "agenticrs_requests_total", "Requests", ("route", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "agenticrs_request_seconds",
            "Time to answer",
            ("route",),
            registry=self.registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
        )
        self.agent_failures = Counter(
            "agenticrs_agent_failures_total",
            "Times an agent failed or was late and its stand-in answered",
            ("agent", "status"),
            registry=self.registry,
        )
        self.serving = Gauge(
            "agenticrs_serving_composition", "Composition that serves", registry=self.registry
        )
        self.mlflow_up = Gauge(
            "agenticrs_mlflow_up", "1 while MLflow answers", registry=self.registry
        )

    def count_trace(self, trace: tuple[NodeTrace, ...]) -> None:
        """Count the agents that did not answer themselves."""
        for step in trace:
            if step.status in ("failed", "timeout"):
                self.agent_failures.labels(step.agent, step.status).inc()
