"""Spans go where they shall, in the trace that the caller names; off, nothing is even imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agenticrs.platform import tracing
from agenticrs.platform.errors import SettingsError
from agenticrs.platform.settings import load_settings
from agenticrs.platform.tracing import Tracer, traced

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def kept() -> InMemorySpanExporter:
    return InMemorySpanExporter()


def tracer(kept: InMemorySpanExporter, share: float = 1.0) -> Tracer:
    return Tracer(kept, share=share, surface="home", at_once=True)


def test_a_request_goes_on_in_the_trace_of_its_caller(kept: InMemorySpanExporter) -> None:
    spans = tracer(kept)
    request = spans.serving("POST", {"traceparent": f"00-{TRACE}-{PARENT}-01"})
    spans.add(request, "agent a", 5_000_000, 2.5, {"agenticrs.agent.version": 3})
    spans.add(request, "agent b", 7_000_000, 1.0, {}, error="late")
    request.end()
    agent, late, server = kept.get_finished_spans()
    assert [f"{span.context.trace_id:032x}" for span in (agent, late, server)] == [TRACE] * 3
    assert server.parent is not None
    assert agent.parent is not None
    assert f"{server.parent.span_id:016x}" == PARENT
    assert agent.parent.span_id == server.context.span_id
    assert (agent.start_time, agent.end_time) == (5_000_000, 7_500_000)
    assert agent.attributes == {"agenticrs.agent.version": 3}
    assert (agent.status.is_unset, late.status.description) == (True, "late")


def test_the_callers_decision_to_keep_a_trace_or_not_is_honoured(
    kept: InMemorySpanExporter,
) -> None:
    for share, flag in ((1.0, "00"), (0.0, "01")):
        span = tracer(kept, share).serving("GET", {"traceparent": f"00-{TRACE}-{PARENT}-{flag}"})
        assert span.is_recording() == (flag == "01")
    assert not tracer(kept, 0.0).serving("GET", {}).is_recording()
    assert not tracer(kept, 0.0).serving("GET", {"traceparent": "nonsense"}).is_recording()


def test_what_fails_in_a_block_is_marked_and_raised(kept: InMemorySpanExporter) -> None:
    with pytest.raises(KeyError), traced(tracer(kept), "load composition 3"):
        raise KeyError("gone")
    (span,) = kept.get_finished_spans()
    assert (span.name, span.status.description) == ("load composition 3", "KeyError: 'gone'")
    with traced(None, "nothing"):
        pass


def test_the_file_has_one_span_a_line_when_it_is_closed(tmp_path: Path) -> None:
    spans = tracing.start(load_settings(home=tmp_path, traces="file", surface="shop"))
    assert spans is not None
    for name in ("first", "second"):
        with spans.span(name):
            pass
    spans.close()
    lines = (tmp_path / tracing.TRACE_FILE).read_text().splitlines()
    told = [json.loads(line) for line in lines]
    assert [one["name"] for one in told] == ["first", "second"]
    assert told[0]["resource"]["attributes"]["agenticrs.surface"] == "shop"


def test_without_the_exporter_a_collector_is_refused_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(SettingsError) as caught:
        tracing.start(load_settings(home=tmp_path, traces="http://127.0.0.1:4318/v1/traces"))
    assert "agenticrs[otlp]" in (caught.value.hint or "")


def test_a_place_that_is_no_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="should be file"):
        load_settings(home=tmp_path, traces="yes")


def test_when_traces_are_off_nothing_of_opentelemetry_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from agenticrs.platform import tracing\n"
        "from agenticrs.platform.settings import load_settings\n"
        f"assert tracing.start(load_settings(home={str(tmp_path)!r})) is None\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
