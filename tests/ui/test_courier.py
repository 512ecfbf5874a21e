"""The outbox: nothing is told twice or lost, whatever dies in between."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import Session, select
from tests.receivers import mail_server, web_server
from tests.ui.conftest import Place, popular_only, routed

from agenticrs.platform.database import make_engine, session_scope
from agenticrs.platform.errors import SettingsError
from agenticrs.platform.notices.message import Message, NotDelivered
from agenticrs.platform.settings import load_settings
from agenticrs.registry import audit, cycles, outbox, proposals, schema
from agenticrs.registry.graph import Graph, Node
from agenticrs.registry.tables import CompositionRow, DeliveryRow, NoticeRow, utc_now
from agenticrs.ui.courier import Courier, channels_of

SECRET = "0123456789abcdef"


class Killed(BaseException):
    """Stands for kill -9."""


@dataclass
class FakeChannel:
    """Takes messages, or refuses them, or dies after it has taken one."""

    name: str = "webhook"
    error: BaseException | None = None
    after: bool = False
    taken: list[Message] = field(default_factory=list)

    def send(self, message: Message) -> None:
        if self.error is None or self.after:
            self.taken.append(message)
        if self.error is not None:
            raise self.error


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    made = make_engine(f"sqlite:///{tmp_path_factory.mktemp('outbox') / 'r.db'}")
    schema.upgrade(made)
    yield made
    made.dispose()


@pytest.fixture
def engine(built: Engine) -> Engine:
    with session_scope(built) as session:
        for table in (DeliveryRow, NoticeRow):
            for row in session.exec(select(table)):
                session.delete(row)
    return built


def post(engine: Engine, key: str = "proposal:3") -> None:
    with session_scope(engine) as session:
        outbox.post(
            session,
            key=key,
            surface="home",
            event="proposal.waiting",
            subject="Proposal 3 waits",
            text="better",
            data={"proposal": 3, "path": "/proposals/3"},
        )


def states(engine: Engine) -> list[tuple[str, str, int]]:
    with session_scope(engine) as session:
        rows = session.exec(select(DeliveryRow)).all()
    return sorted((row.channel, row.state, row.attempts) for row in rows)


def make_due(engine: Engine) -> None:
    """Let the waits pass."""
    with session_scope(engine) as session:
        for row in session.exec(select(DeliveryRow)):
            row.next_at = utc_now()
            session.add(row)


def test_each_way_takes_each_notice_once(engine: Engine) -> None:
    ways = [FakeChannel("webhook"), FakeChannel("email")]
    post(engine)
    post(engine)  # the same key: told once
    courier = Courier(engine, "home", ways, "https://recs.example/")
    assert (courier.deliver(), courier.deliver()) == (2, 0)
    (message,) = ways[0].taken
    assert message.link == "https://recs.example/proposals/3"
    assert message.data == {"proposal": 3}
    assert ways[1].taken == [message]
    assert states(engine) == [("email", "sent", 1), ("webhook", "sent", 1)]


def test_what_is_not_taken_waits_longer_each_time_and_the_other_way_is_not_held_up(
    engine: Engine,
) -> None:
    bad, good = FakeChannel("webhook", NotDelivered("answered 500")), FakeChannel("email")
    post(engine)
    courier = Courier(engine, "home", [bad, good])
    assert courier.deliver() == 1
    assert courier.deliver() == 0, "not yet again"
    assert states(engine) == [("email", "sent", 1), ("webhook", "waiting", 1)]
    bad.error = None
    make_due(engine)
    assert courier.deliver() == 1
    assert states(engine)[1] == ("webhook", "sent", 2)
    assert [outbox.wait_after(n) for n in (1, 2, 3, 9, 11)] == [30, 60, 120, 7200, 7200]


def test_after_the_last_attempt_it_is_given_up_and_the_audit_log_says_so(engine: Engine) -> None:
    post(engine)
    courier = Courier(engine, "home", [FakeChannel(error=NotDelivered("answered 410"))])
    for _ in range(outbox.MOST_ATTEMPTS + 3):
        courier.deliver()
        make_due(engine)
    assert states(engine) == [("webhook", "given up", outbox.MOST_ATTEMPTS)]
    with session_scope(engine) as session:
        entry = audit.entries(session, action="notice given up")[0]
    assert entry.reason == "answered 410"


@pytest.mark.parametrize("after", [False, True], ids=["before it was taken", "after"])
def test_a_sender_that_is_killed_loses_nothing_and_repeats_under_the_same_id(
    engine: Engine, after: bool
) -> None:
    post(engine)
    dying = FakeChannel(error=Killed(), after=after)
    with pytest.raises(Killed):
        Courier(engine, "home", [dying]).deliver()
    healthy = FakeChannel()
    next_one = Courier(engine, "home", [healthy])
    assert next_one.deliver() == 0, "the claim of the dead one still stands"
    make_due(engine)
    assert next_one.deliver() == 1
    seen = {message.uid for message in [*dying.taken, *healthy.taken]}
    assert len(seen) == 1
    assert len(dying.taken) == int(after)


def test_two_couriers_do_not_send_the_same_thing(engine: Engine) -> None:
    post(engine)
    with session_scope(engine) as session:
        outbox.address(session, "home", ["webhook"])
    found = []
    for _ in range(2):
        with session_scope(engine) as session:
            found.append(outbox.claim(session, "home"))
    assert [one is not None for one in found] == [True, False]


def test_what_was_written_while_no_way_was_set_up_is_not_sent_days_later(engine: Engine) -> None:
    post(engine, "old")
    with session_scope(engine) as session:
        old = session.exec(select(NoticeRow)).one()
        old.at = utc_now() - timedelta(days=4)
        session.add(old)
    post(engine, "new")
    way = FakeChannel()
    assert Courier(engine, "home", [way]).deliver() == 1
    assert Courier(engine, "elsewhere", [way]).deliver() == 0


def test_proposals_and_failures_are_told_with_what_they_tell_of_or_not_at_all(
    engine: Engine,
) -> None:
    with session_scope(engine) as session:
        cycle = cycles.open_cycle(
            session,
            surface="home",
            kind="compositional",
            dataset="shop",
            fingerprint="f",
            seed=0,
            request={},
        )
        graph = Graph(nodes=(Node(id="ease", agent="ease", version=1),), output="ease")
        session.add(
            CompositionRow(
                surface="home",
                number=2,
                model="home.composition",
                run_id="r",
                graph=graph.model_dump(mode="json"),
                digest=graph.digest(),
                dataset="shop",
                fingerprint="f",
            )
        )
    number = cycle.id or 0

    def file(session: Session) -> None:
        proposals.file(
            session,
            surface="home",
            cycle_id=number,
            title="route cold users",
            before=1,
            after=2,
            digest="d",
            evidence={},
        )

    def die() -> None:
        with session_scope(engine) as session:
            file(session)
            raise Killed

    with pytest.raises(Killed):
        die()
    with session_scope(engine) as session:
        assert outbox.latest(session, "home") == []
        file(session)
    with session_scope(engine) as session:
        cycles.finish(session, number, "failed", error="Ray is gone")
    with session_scope(engine) as session:
        told = [(n.event, n.text) for n in outbox.latest(session, "home")]
    assert told == [("cycle.failed", "Ray is gone"), ("proposal.waiting", "route cold users")]


def test_real_servers_get_what_the_settings_name(engine: Engine, tmp_path: Path) -> None:
    post(engine)
    with web_server([500]) as hook, mail_server() as box:
        settings = load_settings(
            home=tmp_path,
            webhook_url=hook.url,
            webhook_secret=SECRET,
            smtp_url=box.url,
            mail_to="ada@example.org, bob@example.org",
        )
        courier = Courier(engine, "home", channels_of(settings))
        assert courier.deliver() == 1
        make_due(engine)
        assert courier.deliver() == 1
    ids = [headers["webhook-id"] for headers, _ in hook.requests]
    assert len(ids) == 2
    assert len(set(ids)) == 1, "a repetition carries the same id"
    assert box.letters[0][1] == ["ada@example.org", "bob@example.org"]
    assert SECRET not in repr(settings)


def test_what_waits_what_failed_and_what_was_rolled_back_reach_people_both_ways(
    place: Place, tmp_path: Path
) -> None:
    second = place.compose(routed())
    place.propose(place.compose(popular_only()), second, title="route cold users")
    with session_scope(place.engine) as session:
        cycle = cycles.open_cycle(
            session,
            surface="home",
            kind="individual",
            dataset="generated",
            fingerprint="f",
            seed=0,
            request={},
        )
        cycles.finish(session, cycle.id or 0, "failed", error="every candidate failed")
    place.promote(second.number)
    place.governance.rollback(to=None, who="ada", reason="complaints")
    place.promote(second.number, "again")
    place.tracking.set_alias("home.composition", "champion", 1)  # somebody, in MLflow
    place.serving.refresh()
    with web_server() as hook, mail_server() as box:
        settings = load_settings(
            home=tmp_path,
            webhook_url=hook.url,
            webhook_secret=SECRET,
            smtp_url=box.url,
            mail_to="ada@example.org",
        )
        ways = channels_of(settings)
        Courier(place.engine, "home", ways, "https://console.example").deliver()
        told = [json.loads(body) for _, body in hook.requests]
        letters = [letter for _, _, letter in box.letters]
    kinds = [one["type"] for one in told]
    assert sorted(kinds) == ["cycle.failed", "proposal.waiting", "rollback", "rollback"]
    assert len(letters) == 4
    for words in ("route cold users", "every candidate failed", "ada: complaints", "in MLflow"):
        assert any(words in json.dumps(one) for one in told), words
        assert any(words in letter for letter in letters), words
    assert all("https://console.example/" in json.dumps(one) for one in told), "where to read on"


def test_a_secret_that_is_none_is_refused_by_the_settings(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="webhook_secret"):
        load_settings(home=tmp_path, webhook_url="https://x.example/")
    with pytest.raises(SettingsError, match="mail_to"):
        load_settings(home=tmp_path, smtp_url="smtp://x.example")
    broken = load_settings(
        home=tmp_path, webhook_url="https://x.example/", webhook_secret="whsec_" + "?" * 20
    )
    with pytest.raises(SettingsError, match="base64"):
        channels_of(broken)
