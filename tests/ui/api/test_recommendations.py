"""Recommendations and feedback over HTTP: open to the surface, strict about what comes in."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.testclient import TestClient
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoneFree
from structlog.testing import capture_logs

from agenticrs.platform.database import session_scope
from agenticrs.platform.tracing import Tracer
from agenticrs.registry import feedback
from agenticrs.ui.api import models, recommendations
from agenticrs.ui.api.app import FEEDBACK_AT_ONCE, create_app
from agenticrs.ui.loaded_model import Asked
from agenticrs.ui.serving import ServingModel


def event(key: str, item: str, **changed: Any) -> dict[str, Any]:
    return {"key": key, "user_id": "u1", "item_id": item, "behaviours": {"click": 1}} | changed


def test_a_known_user_gets_a_ranked_slate_with_titles(place: Any) -> None:
    user = str(place.datasets.load("generated").user_ids[0])
    body = place.client().post("/v1/recommend", json={"user_id": user, "k": 4}).json()
    assert body["known_user"] is True
    assert body["composition"] == 1
    assert [item["rank"] for item in body["items"]] == [1, 2, 3, 4]
    assert all(item["title"] for item in body["items"])
    assert body["trace"] is None


def test_post_and_get_say_the_same(place: Any) -> None:
    client = place.client()
    posted = client.post("/v1/recommend", json={"user_id": "u1", "k": 3}).json()
    got = client.get("/v1/recommend", params={"user_id": "u1", "k": 3}).json()
    assert posted == got


def test_an_unknown_user_is_no_error(place: Any) -> None:
    answer = place.client().post("/v1/recommend", json={"user_id": "nobody"})
    assert answer.status_code == 200
    assert answer.json()["known_user"] is False
    assert len(answer.json()["items"]) == 10


def test_the_trace_tells_what_every_node_did(place: Any) -> None:
    place.promote(2)
    place.serving.refresh()
    body = {"user_id": None, "k": 2, "trace": True}
    trace = place.client().post("/v1/recommend", json=body).json()["trace"]
    status = {step["node"]: step["status"] for step in trace}
    assert status == {
        "history_router": "ok",
        "popularity": "ok",
        "itemknn": "skipped",
        "rrf": "ok",
    }


def test_before_anything_serves_it_is_503_with_a_hint(empty_place: Any) -> None:
    answer = empty_place.client().post("/v1/recommend", json={"user_id": "u1"})
    assert answer.status_code == 503
    assert "agenticrs" in answer.json()["hint"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"user_id": "u", "k": 0}, "k"),
        ({"user_id": "u", "k": 101}, "k"),
        ({"user_id": "u", "k": "many"}, "k"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": "x" * 201}, "user_id"),
        ({"user_id": "a\nb"}, "user_id"),
        ({"user_id": "u", "history": ["i"] * 1001}, "history"),
        ({"user_id": "u", "history": ["ok", 5]}, "history.1"),
        ({"user_id": "u", "password": "x"}, "password"),
        ([], "body"),
    ],
)
def test_bad_requests_are_422_and_name_the_field(place: Any, body: Any, field: str) -> None:
    answer = place.client().post("/v1/recommend", json=body)
    assert answer.status_code == 422
    assert answer.json()["fields"][0]["field"] == field
    assert field in answer.json()["error"]


def test_what_is_no_json_is_422_too(place: Any) -> None:
    answer = place.client().post(
        "/v1/recommend", content=b"{nope", headers={"content-type": "application/json"}
    )
    assert answer.status_code == 422


@pytest.mark.parametrize(
    ("method", "body", "status"), [("POST", b"[" * 100_000, 400), ("PUT", b"{}", 405)]
)
def test_even_a_body_beyond_reading_and_a_wrong_method_get_a_hint(
    place: Any, method: str, body: bytes, status: int
) -> None:
    headers = {"content-type": "application/json"}
    answer = place.client().request(method, "/v1/recommend", content=body, headers=headers)
    assert answer.status_code == status
    assert answer.json()["hint"]


def test_the_answer_has_the_form_that_the_schema_declares(place: Any) -> None:
    body = place.client().post("/v1/recommend", json={"user_id": "u1", "trace": True}).json()
    assert models.RecommendResponse.model_validate(body).model_dump(mode="json") == body


def test_a_slate_is_explained_on_request_by_address_and_by_body(place: Any) -> None:
    place.promote(2)
    place.serving.refresh()
    client, ask = place.client(), {"user_id": "new", "k": 3}
    plain = client.post("/v1/recommend", json=ask).json()
    assert plain["explanation"] is None
    answers = [
        client.post("/v1/recommend?explain=1", json=ask).json(),
        client.post("/v1/recommend", json=ask | {"explain": True}).json(),
        client.get("/v1/recommend", params=ask | {"explain": 1}).json(),
    ]
    assert answers[0] == answers[1] == answers[2]
    told = answers[0]["explanation"]
    assert models.RecommendResponse.model_validate(answers[0]).model_dump(mode="json") == answers[0]
    assert answers[0]["items"] == plain["items"]
    assert told["routes"] == [
        {"node": "history_router", "agent": "history_router", "version": 1, "segment": "cold"}
    ]
    assert [one["id"] for one in told["items"]] == [item["id"] for item in plain["items"]]
    assert [one["node"] for one in told["items"][0]["contributions"]] == ["popularity", "rrf"]
    source = told["items"][0]["contributions"][1]["sources"][0]
    assert (source["node"], source["rank"], source["weight"]) == ("popularity", 1, 1.0)


def test_a_request_is_traced_from_its_caller_down_to_the_versions_of_the_agents(
    place: Any,
) -> None:
    kept = InMemorySpanExporter()
    tracer = Tracer(kept, surface="home", at_once=True)
    serving = ServingModel(
        place.engine, place.tracking, place.datasets, place.settings, tracer=tracer
    )
    place.promote(2)
    serving.refresh()
    deps = replace(place.app_dependencies(), serving=serving, tracer=tracer)
    client = TestClient(create_app(deps), base_url="http://127.0.0.1")
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    headers = {"traceparent": f"00-{trace}-{parent}-01"}
    client.post("/v1/recommend", json={"user_id": "new"}, headers=headers)
    client.post("/v1/recommend", json={"k": 0})
    unsampled = {"traceparent": f"00-{trace}-{parent}-00"}
    client.post("/v1/recommend", json={"user_id": "new"}, headers=unsampled)
    spans: Any = kept.get_finished_spans()
    load, batch, *agents, request, refused = spans
    assert load.name == "load composition 2"
    assert request.name == refused.name == "POST /v1/recommend"
    assert refused.attributes["http.response.status_code"] == 422
    assert f"{request.context.trace_id:032x}" == trace
    assert f"{request.parent.span_id:016x}" == parent
    assert batch.parent.span_id == request.context.span_id
    assert batch.attributes["agenticrs.composition"] == 2
    assert [span.parent.span_id for span in agents] == [batch.context.span_id] * 3
    assert [
        (span.attributes["agenticrs.agent"], span.attributes["agenticrs.agent.version"])
        for span in agents
    ] == [("history_router", 1), ("popularity", 1), ("rrf", 1)]
    for span in agents:
        assert batch.start_time <= span.start_time <= span.end_time
    assert request.start_time <= batch.start_time <= batch.end_time <= request.end_time


def test_requests_of_one_moment_get_their_own_answers(place: Any) -> None:
    place.promote(2)
    place.serving.refresh()
    people = [str(user) for user in place.datasets.load("generated").user_ids[:12]] + ["new"]
    asked = [Asked(user, 3 + number % 4) for number, user in enumerate(people)]
    alone = [place.serving.recommend(one.user_id, one.k) for one in asked]
    together = place.serving.recommend_all(asked)
    assert [answer.items for answer in together] == [answer.items for answer in alone]
    assert [[(s.node, s.status) for s in answer.trace] for answer in together] == [
        [(s.node, s.status) for s in answer.trace] for answer in alone
    ]
    assert [answer.known for answer in together] == [True] * 12 + [False]


def test_a_request_that_cannot_be_answered_leaves_the_others_of_its_batch_theirs(
    place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = place.serving.loaded
    real = loaded.recommend

    def recommend(asked: Any, live: Any) -> Any:
        if any(one.user_id == "bad" for one in asked):
            raise KeyError("bad")
        return real(asked, live)

    monkeypatch.setattr(loaded, "recommend", recommend)
    first, bad, last = place.serving.recommend_all([Asked(u, 2) for u in ("u1", "bad", "u2")])
    assert isinstance(bad, KeyError)
    assert len(first.items) == len(last.items) == 2
    answer = place.client().post("/v1/recommend", json={"user_id": "bad"})
    assert answer.status_code == 500
    assert set(answer.json()) == {"error", "hint"}


def test_who_would_wait_behind_too_many_is_told_to_come_again(place: Any) -> None:
    client = place.client()
    client.app.state.batches.close()
    answer = client.post("/v1/recommend", json={"user_id": "u1"})
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["hint"]


def test_feedback_is_durable_idempotent_and_counts_at_once(place: Any) -> None:
    client = place.client()
    ask = {"user_id": "u-fresh", "k": 10}
    item = client.post("/v1/recommend", json=ask).json()["items"][0]["id"]
    batch = {"events": [event("k1", item, user_id="u-fresh")]}
    assert client.post("/v1/feedback", json=batch).json() == {"new": 1, "repeated": 0}
    assert client.post("/v1/feedback", json=batch).json() == {"new": 0, "repeated": 1}
    with session_scope(place.engine) as session:
        rows = feedback.pending(session, "generated")
    assert [(r.user_id, r.item_id, r.behaviours) for r in rows] == [("u-fresh", item, {"click": 1})]
    shown = [i["id"] for i in client.post("/v1/recommend", json=ask).json()["items"]]
    assert item not in shown


def test_a_repeated_key_lays_nothing_more_over_the_history(
    place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, items = place.client(), place.datasets.load("generated").item_ids
    clock = [1_700_000_000, 1_700_000_005, 1_700_000_009]
    monkeypatch.setattr(recommendations, "time", SimpleNamespace(time=lambda: clock.pop(0)))
    # Sent again later without a time, and then with another item: what is stored counts.
    for item in (items[3], items[3], items[4]):
        client.post("/v1/feedback", json={"events": [event("k", str(item), user_id="u-fresh")]})
    live = place.serving._live.of("u-fresh")
    assert [(seen.item_id, seen.timestamp) for seen in live] == [(items[3], 1_700_000_000)]


def test_keys_that_several_requests_bring_at_once_are_kept_once(place: Any) -> None:
    item = str(place.datasets.load("generated").item_ids[0])
    both = {"events": [event("shared", item), event("own", item), event("shared", item)]}
    client = place.client()
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: client.post("/v1/feedback", json=both), range(12)))
    assert {answer.status_code for answer in answers} == {200}
    assert sum(answer.json()["new"] for answer in answers) == 2
    assert sum(answer.json()["repeated"] for answer in answers) == 12 * 3 - 2
    with session_scope(place.engine) as session:
        assert feedback.count(session, "generated") == 2


def test_when_too_many_wait_to_write_feedback_the_next_is_told_to_come_again(place: Any) -> None:
    client = place.client()
    item = str(place.datasets.load("generated").item_ids[0])
    batch = {"events": [event("k", item)]}
    with ExitStack() as waiting:
        for _ in range(FEEDBACK_AT_ONCE):
            waiting.enter_context(client.app.state.feedback.inside())
        refused = client.post("/v1/feedback", json=batch)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert client.post("/v1/recommend", json={"user_id": "u1"}).status_code == 200
    assert client.post("/v1/feedback", json=batch).json() == {"new": 1, "repeated": 0}
    assert client.post("/v1/feedback", json={"events": []}).status_code == 422
    assert client.post("/v1/feedback", json=batch).status_code == 200, "what was refused left"


def test_feedback_that_cannot_be_kept_now_is_503_and_may_be_sent_again(
    place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = place.client()
    item = str(place.datasets.load("generated").item_ids[0])
    batch, real = {"events": [event("k", item)]}, feedback.append

    def locked(*_: Any) -> Any:
        raise OperationalError("insert", {}, Exception("database is locked"))

    monkeypatch.setattr(feedback, "append", locked)
    answer = client.post("/v1/feedback", json=batch)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "same keys" in answer.json()["hint"]
    monkeypatch.setattr(feedback, "append", real)
    assert client.post("/v1/feedback", json=batch).json() == {"new": 1, "repeated": 0}


@pytest.mark.parametrize(
    "lost",
    [
        OperationalError("select", {}, Exception("the database system is in recovery mode")),
        DatabaseError("select", {}, Exception("closed"), connection_invalidated=True),
        NoneFree("QueuePool limit of size 5 overflow 10 reached"),
    ],
    ids=["away", "closed", "none free"],
)
def test_a_connection_lost_after_feedback_was_kept_is_503_and_sent_again_it_counts_once(
    place: Any, monkeypatch: pytest.MonkeyPatch, lost: SQLAlchemyError
) -> None:
    client = place.client()
    item = str(place.datasets.load("generated").item_ids[0])
    batch, read = {"events": [event("k", item)]}, recommendations._stored
    losses = [lost]

    def read_when_it_answers(*given: Any) -> Any:
        if losses:
            raise losses.pop()
        return read(*given)

    monkeypatch.setattr(recommendations, "_stored", read_when_it_answers)
    answer = client.post("/v1/feedback", json=batch)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "same keys" in answer.json()["hint"]
    assert client.post("/v1/feedback", json=batch).json() == {"new": 0, "repeated": 1}
    assert [seen.item_id for seen in place.serving._live.of("u1")] == [item]


def test_feedback_that_the_database_refuses_is_no_outage(
    place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*_: Any) -> Any:
        raise IntegrityError("insert", {}, Exception("a column is missing"))

    monkeypatch.setattr(feedback, "append", wrong)
    item = str(place.datasets.load("generated").item_ids[0])
    assert (
        place.client().post("/v1/feedback", json={"events": [event("k", item)]}).status_code == 500
    )


def test_where_no_dataset_is_chosen_yet_none_is_counted(empty_place: Any) -> None:
    answer = empty_place.logged_in().get("/v1/feedback")
    assert answer.status_code == 200
    assert answer.json() == {"dataset": None, "stored": 0}


def test_feedback_without_a_time_gets_the_present_one(place: Any) -> None:
    item = str(place.datasets.load("generated").item_ids[0])
    begin = int(time.time())
    place.client().post("/v1/feedback", json={"events": [event("k", item)]})
    with session_scope(place.engine) as session:
        assert begin <= feedback.pending(session, "generated")[0].timestamp <= time.time()


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"item_id": "no such item"}, "events.1.item_id"),
        ({"behaviours": {"clicked": 1}}, "events.1.behaviours.clicked"),
        ({"behaviours": {"click": -1}}, "events.1.behaviours.click"),
        ({"behaviours": {"watch_time": 1e39}}, "events.1.behaviours.watch_time"),
        ({"behaviours": {}}, "events.1.behaviours"),
        ({"timestamp": -1}, "events.1.timestamp"),
        ({"timestamp": 99_999_999_999}, "events.1.timestamp"),
        ({"key": ""}, "events.1.key"),
        ({"user_id": "a\x00b"}, "events.1.user_id"),
    ],
)
def test_bad_feedback_is_422_names_the_field_and_keeps_nothing(
    place: Any, changed: dict[str, Any], field: str
) -> None:
    item = str(place.datasets.load("generated").item_ids[0])
    events = [event("good", item), event("bad", item) | changed]
    answer = place.client().post("/v1/feedback", json={"events": events})
    assert answer.status_code == 422
    # A key of a mapping is marked as such by pydantic.
    assert field in answer.json()["fields"][0]["field"].replace(".[key]", "")
    with session_scope(place.engine) as session:
        assert feedback.count(session, "generated") == 0


def test_numbers_that_are_not_finite_are_refused(place: Any) -> None:
    item = str(place.datasets.load("generated").item_ids[0])
    for number in ("NaN", "Infinity"):
        sound = {"events": [event("k", item, behaviours={"watch_time": 1})]}
        text = json.dumps(sound).replace('"watch_time": 1', f'"watch_time": {number}')
        answer = place.client().post(
            "/v1/feedback", content=text, headers={"content-type": "application/json"}
        )
        assert answer.status_code == 422
        assert "behaviours.watch_time" in answer.json()["error"]


def test_a_batch_that_is_too_long_or_too_large_is_refused(place: Any) -> None:
    client = place.client()
    many = [event(f"k{i}", "i1") for i in range(1001)]
    assert client.post("/v1/feedback", json={"events": many}).status_code == 422
    told = b" " * 2_000_001
    untold = iter([b" " * 1_000_000] * 3)
    for content in (told, untold):
        answer = client.post(
            "/v1/feedback", content=content, headers={"content-type": "application/json"}
        )
        assert answer.status_code == 413
        assert set(answer.json()) == {"error", "hint"}


def test_feedback_as_a_foreign_form_could_send_it_is_refused(place: Any) -> None:
    answer = place.client().post(
        "/v1/feedback", content=b'{"events": []}', headers={"content-type": "text/plain"}
    )
    assert answer.status_code == 422


def test_a_failing_agent_is_counted_and_the_slate_is_full(place: Any) -> None:
    place.promote(2)
    place.serving.refresh()
    runtime = place.serving.loaded._runtime
    step = next(s for s in runtime._steps if s.node.id == "popularity")

    def broken(*_: Any) -> Any:
        raise RuntimeError("out of order")

    step.agent.act = broken
    client = place.client()
    with capture_logs() as logged:
        for _ in range(2):
            answer = client.post("/v1/recommend", json={"user_id": "new", "k": 5, "trace": True})
    body = answer.json()
    assert len(body["items"]) == 5
    assert {step["node"]: step["status"] for step in body["trace"]}["popularity"] == "failed"
    assert "out of order" not in answer.text, "why stands in the log, not in an open answer"
    assert [line["error"] for line in logged if line["log_level"] == "warning"] == [
        "RuntimeError: out of order"
    ]
    text = client.get("/metrics").text
    assert 'agenticrs_agent_failures_total{agent="popularity",status="failed"} 2.0' in text


def test_an_agent_that_keeps_failing_rests_and_everybody_can_see_it(place: Any) -> None:
    place.promote(2)
    place.serving.refresh()
    step = next(s for s in place.serving.loaded._runtime._steps if s.node.id == "popularity")

    def broken(*_: Any) -> Any:
        raise RuntimeError("out of <order>")

    step.agent.act = broken
    client = place.logged_in()
    for _ in range(place.settings.circuit_failures + 1):
        answer = client.post("/v1/recommend", json={"user_id": "new", "k": 5, "trace": True})
    assert len(answer.json()["items"]) == 5
    statuses = {step["node"]: step["status"] for step in answer.json()["trace"]}
    assert statuses["popularity"] == "resting"
    assert client.get("/healthz").json()["resting"] == ["popularity"]
    text = client.get("/metrics").text
    assert 'agenticrs_agent_resting{agent="popularity",node="popularity"} 1.0' in text
    assert 'agent="popularity",status="resting"} 1.0' in text
    page = client.get("/").text
    assert "Agent popularity rests." in page
    assert "out of &lt;order&gt;" in page
    assert 'agenticrs_batch_requests_bucket{le="1.0"} 6.0' in text


def test_health_and_metrics_say_what_serves(place: Any) -> None:
    client = place.client()
    assert client.get("/healthz").json() == {
        "status": "ok",
        "composition": 1,
        "tracking_reachable": True,
        "resting": [],
    }
    client.post("/v1/recommend", json={"user_id": "u"})
    text = client.get("/metrics").text
    assert 'agenticrs_serving_info{composition="1",dataset="generated"' in text
    assert 'route="/v1/recommend",status="200"} 1.0' in text
    place.tracking.reachable = False
    place.serving.refresh()
    assert "agenticrs_tracking_reachable 0.0" in client.get("/metrics").text


def test_paths_that_do_not_exist_share_one_label(place: Any) -> None:
    client = place.client()
    for i in range(3):
        client.get(f"/v1/nothing/{i}")
    assert 'route="(none)",status="404"} 3.0' in client.get("/metrics").text


def test_two_apps_in_one_process_count_for_themselves(place: Any) -> None:
    first, second = place.client(), place.client()
    first.post("/v1/recommend", json={"user_id": "u"})
    assert 'route="/v1/recommend"' not in second.get("/metrics").text
