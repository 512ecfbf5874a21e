"""Traces for OpenTelemetry: of requests, of what answered them, and of what was loaded.

Off unless ``AGENTICRS_TRACES`` says where spans go; nothing of OpenTelemetry is imported before.
The provider is our own: what other libraries trace does not mix with it. A request that brings a
W3C ``traceparent`` is traced in its caller's trace, and sampled as that says.
"""

from __future__ import annotations

import atexit
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from agenticrs.platform.errors import SettingsError
from agenticrs.platform.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span

Value: TypeAlias = str | int | float | bool
FILE = "file"
TRACE_FILE = Path("logs") / "traces.jsonl"
"""Under the home: one span a line."""


def start(settings: Settings) -> Tracer | None:
    """A tracer to where the settings say; None where traces are off.

    Raises SettingsError when the exporter is not installed.
    """
    if settings.traces is None:
        return None
    if settings.traces == FILE:
        exporter = _to_file(settings.home / TRACE_FILE)
    else:
        exporter = _to_collector(settings.traces)
    return Tracer(exporter, share=settings.trace_share, surface=settings.surface)


class Tracer:
    """Makes spans. ``share`` of the traces that begin here are kept; safe in several threads.

    ``at_once`` exports each span when it ends, for tests; otherwise a thread does so in batches.
    """

    def __init__(
        self, exporter: SpanExporter, *, share: float = 1.0, surface: str, at_once: bool = False
    ) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

        resource = Resource.create({"service.name": "agenticrs", "agenticrs.surface": surface})
        self._provider = TracerProvider(
            sampler=ParentBasedTraceIdRatio(share), resource=resource, shutdown_on_exit=False
        )
        processor = SimpleSpanProcessor(exporter) if at_once else BatchSpanProcessor(exporter)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("agenticrs")
        atexit.register(self.close)

    def serving(self, name: str, headers: Mapping[str, str]) -> Span:
        """Begin the span of a request, in the trace that its headers name; ``end`` it."""
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        context = TraceContextTextMapPropagator().extract(headers)
        return self._tracer.start_span(name, context, kind=SpanKind.SERVER)

    def add(
        self,
        parent: Span,
        name: str,
        began: int,
        milliseconds: float,
        attributes: Mapping[str, Value],
        error: str | None = None,
    ) -> Span:
        """A span of what is over, below another; ``began`` is in nanoseconds of Unix time."""
        from opentelemetry.trace import set_span_in_context

        span = self._tracer.start_span(
            name, set_span_in_context(parent), attributes=dict(attributes), start_time=began
        )
        if error is not None:
            _mark(span, error)
        span.end(began + int(milliseconds * 1e6))
        return span

    @contextmanager
    def span(self, name: str, **attributes: Value) -> Iterator[Span]:
        """A trace of its own, of what happens in the block."""
        span = self._tracer.start_span(name, attributes=attributes)
        try:
            yield span
        except Exception as error:
            _mark(span, f"{type(error).__name__}: {error}")
            raise
        finally:
            span.end()

    def close(self) -> None:
        """Send what waits to be sent. Safe to repeat."""
        atexit.unregister(self.close)
        self._provider.shutdown()


@contextmanager
def traced(tracer: Tracer | None, name: str, **attributes: Value) -> Iterator[None]:
    """``tracer.span``, where there is a tracer."""
    if tracer is None:
        yield
    else:
        with tracer.span(name, **attributes):
            yield


def _mark(span: Span, error: str) -> None:
    from opentelemetry.trace import Status, StatusCode

    span.set_status(Status(StatusCode.ERROR, error))


def _to_file(path: Path) -> SpanExporter:
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter

    class ToFile(ConsoleSpanExporter):
        def shutdown(self) -> None:
            self.out.close()

    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a", encoding="utf-8")
    return ToFile(out=file, formatter=lambda span: span.to_json(indent=None) + "\n")


def _to_collector(url: str) -> SpanExporter:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        raise SettingsError(
            "traces to a collector need the OTLP exporter, which is not installed",
            hint="pip install 'agenticrs[otlp]', or set traces (AGENTICRS_TRACES) to file",
        ) from None
    exporter: SpanExporter = OTLPSpanExporter(endpoint=url)
    return exporter
