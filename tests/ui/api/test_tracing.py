"""Traces reach a real collector: OTLP over HTTP, taken off the wire and decoded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fastapi.testclient import TestClient
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.receivers import Hook, web_server

from agenticrs.platform import tracing
from agenticrs.platform.settings import load_settings
from agenticrs.ui.api.app import create_app
from agenticrs.ui.serving import ServingModel

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def received(collector: Hook) -> list[Any]:
    """The spans that came in, with what they came in decoded."""
    found = []
    for headers, body in collector.requests:
        assert headers["content-type"] == "application/x-protobuf"
        message = ExportTraceServiceRequest.FromString(body)
        for resource in message.resource_spans:
            assert told(resource.resource)["service.name"] == "agenticrs"
            assert told(resource.resource)["agenticrs.surface"] == "home"
            found += [span for scope in resource.scope_spans for span in scope.spans]
    return found


def told(one: Any) -> dict[str, Any]:
    """Attributes of a span or a resource."""
    return {
        pair.key: getattr(pair.value, str(pair.value.WhichOneof("value")))
        for pair in one.attributes
    }


def test_a_collector_gets_request_composition_agents_and_their_versions(place: Any) -> None:
    with web_server() as collector:
        settings = load_settings(home=place.settings.home, traces=collector.url)
        tracer = tracing.start(settings)
        assert tracer is not None
        serving = ServingModel(
            place.engine, place.tracking, place.datasets, settings, tracer=tracer
        )
        place.promote(2)
        serving.refresh()
        deps = replace(place.app_dependencies(), serving=serving, tracer=tracer, settings=settings)
        client = TestClient(create_app(deps), base_url="http://127.0.0.1")
        answer = client.post(
            "/v1/recommend",
            json={"user_id": "new"},
            headers={"traceparent": f"00-{TRACE}-{PARENT}-01"},
        )
        assert answer.status_code == 200
        tracer.close()  # sends what waits
    spans = received(collector)
    by_name = {span.name: span for span in spans if span.trace_id.hex() == TRACE}
    request, composition = by_name["POST /v1/recommend"], by_name["composition 2"]
    assert request.parent_span_id.hex() == PARENT
    assert request.kind == request.SPAN_KIND_SERVER
    assert told(request)["http.response.status_code"] == 200
    assert composition.parent_span_id == request.span_id
    agents = [span for span in by_name.values() if span.parent_span_id == composition.span_id]
    versions = {told(s)["agenticrs.agent"]: told(s)["agenticrs.agent.version"] for s in agents}
    assert versions == {"history_router": 1, "popularity": 1, "rrf": 1}
    for span in agents:
        assert composition.start_time_unix_nano <= span.start_time_unix_nano
        assert span.end_time_unix_nano <= request.end_time_unix_nano
    assert "load composition 2" in {span.name for span in spans}
