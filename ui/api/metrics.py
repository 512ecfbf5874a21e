"""Figures for Prometheus. Each app has its own registry, so that two never mix."""

from __future__ import annotations

import time
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agenticrs.ui.loaded_model import Answer, Step
from agenticrs.ui.serving import ServingModel

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """Counters of one app, and what serves, read when they are asked for."""

    def __init__(self, serving: ServingModel, surface: str) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "agenticrs_http_requests",
            "Requests by method, route and status.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self.seconds = Histogram(
            "agenticrs_http_request_seconds",
            "Time from the request to the end of its answer.",
            ("method", "route"),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self.agent_failures = Counter(
            "agenticrs_agent_failures",
            "Answers for which an agent failed, was late or rested, so that a stand-in acted.",
            ("agent", "status"),
            registry=self._registry,
        )
        self.batches = Histogram(
            "agenticrs_batch_requests",
            "Requests for recommendations that were answered together.",
            buckets=_SIZES,
            registry=self._registry,
        )
        self.canary_requests = Counter(
            "agenticrs_canary_requests",
            "Recommendations while a canary is under way, by who answered.",
            ("arm", "composition"),
            registry=self._registry,
        )
        self.feedback = Counter(
            "agenticrs_feedback_events",
            "Feedback events: new, or repeated by their key.",
            ("outcome",),
            registry=self._registry,
        )
        self.login_failures = Counter(
            "agenticrs_login_failures", "Wrong names or passwords.", registry=self._registry
        )
        self._registry.register(_Serving(serving, surface))

    def count_agents(self, trace: Iterable[Step]) -> None:
        """Count the agents that did not answer a request."""
        for step in trace:
            if step.status in ("failed", "timeout", "resting"):
                self.agent_failures.labels(step.agent, step.status).inc()

    def count_arm(self, found: Answer) -> None:
        """Count the answer for its arm of a canary, if it has one."""
        if found.arm is not None:
            self.canary_requests.labels(found.arm, str(found.composition)).inc()

    def text(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self._registry)


class _Serving(Collector):
    def __init__(self, serving: ServingModel, surface: str) -> None:
        self._serving = serving
        self._surface = surface

    def collect(self) -> Iterable[Metric]:
        """What serves now."""
        status = self._serving.status
        info = GaugeMetricFamily(
            "agenticrs_serving_info",
            "The composition that serves and its data; no sample while none does.",
            labels=("surface", "composition", "dataset", "fingerprint"),
        )
        if status.composition is not None:
            labels = (self._surface, str(status.composition), status.dataset, status.fingerprint)
            info.add_metric(labels, 1.0)
        yield info
        yield GaugeMetricFamily(
            "agenticrs_tracking_reachable",
            "Whether MLflow answered the last time it was asked.",
            value=float(status.tracking_reachable),
        )
        yield GaugeMetricFamily(
            "agenticrs_serving_stale",
            "1 while what should serve cannot be loaded and an older composition answers.",
            value=float(bool(status.failure)),
        )
        resting = GaugeMetricFamily(
            "agenticrs_agent_resting",
            "1 while an agent is left alone after failures; no sample for the others.",
            labels=("node", "agent"),
        )
        for view in status.resting:
            resting.add_metric((view.node, view.agent), 1.0)
        yield resting


class CountRequests:
    """ASGI middleware that counts and times requests by the route's template, never by its path."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and count it when its answer has ended."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin, status = time.perf_counter(), 500

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        finally:
            route = getattr(scope.get("route"), "path", "(none)")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.requests.labels(method, route, str(status)).inc()
            self._metrics.seconds.labels(method, route).observe(time.perf_counter() - begin)
