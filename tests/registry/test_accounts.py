"""People, their roles, and the tokens of their scripts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from agenticrs.platform.database import make_engine, session_scope
from agenticrs.platform.errors import AgenticRSError, Conflict, NotAllowed, NotFound
from agenticrs.registry import accounts, audit, schema, tokens
from agenticrs.registry.roles import ROLES, includes
from agenticrs.registry.tables import TokenRow, utc_now

PASSWORD = "correct horse battery"
pytestmark = pytest.mark.usefixtures("quick_passwords")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = make_engine(f"sqlite:///{tmp_path / 'registry.db'}")
    schema.upgrade(made)
    with session_scope(made) as session:
        accounts.create(session, "ada", PASSWORD, "admin")
        accounts.create(session, "bob", PASSWORD, "approver")
    yield made
    made.dispose()


def test_each_role_includes_those_before_it_and_an_unknown_one_nothing() -> None:
    table = {role: [needed for needed in ROLES if includes(role, needed)] for role in ROLES}
    assert table == {role: list(ROLES[: place + 1]) for place, role in enumerate(ROLES)}
    assert not includes("root", "viewer")


@pytest.mark.parametrize("name", ["", " ", "a:b", "x" * 101, "a\nb"])
def test_a_name_that_basic_or_a_page_could_not_carry_is_refused(engine: Engine, name: str) -> None:
    with session_scope(engine) as session, pytest.raises(NotAllowed):
        accounts.create(session, name, PASSWORD)


def test_what_can_be_no_name_or_token_is_nobodys(engine: Engine) -> None:
    with session_scope(engine) as session:
        assert accounts.find(session, "ada\0") is None
        assert not accounts.verify(session, "ada\0", PASSWORD)
        with pytest.raises(NotFound):
            accounts.get(session, "ada\n")
        assert tokens.find(session, f"agrs_{10**12}_secret", utc_now()) is None


def test_the_last_admin_stays_one(engine: Engine) -> None:
    with pytest.raises(NotAllowed, match="last admin"), session_scope(engine) as session:
        accounts.set_role(session, "ada", "viewer", who="ada", reason="r")
    with pytest.raises(NotAllowed, match="last admin"), session_scope(engine) as session:
        accounts.set_active(session, "ada", False, who="ada", reason="r")
    with session_scope(engine) as session:
        assert accounts.get(session, "ada").role == "admin"
        accounts.set_role(session, "bob", "admin", who="ada", reason="two are better")
    with session_scope(engine) as session:
        accounts.set_role(session, "ada", "viewer", who="bob", reason="on leave")
        assert audit.entries(session, 1)[0].before == {"role": "admin"}


def test_of_two_admins_who_demote_each_other_one_remains(engine: Engine) -> None:
    with session_scope(engine) as session:
        accounts.set_role(session, "bob", "admin", who="ada", reason="r")
    start = threading.Barrier(2)

    def demote(name: str) -> None:
        start.wait()
        try:
            with session_scope(engine) as session:
                accounts.set_role(session, name, "viewer", who="other", reason="r")
        except AgenticRSError:
            pass

    both = [threading.Thread(target=demote, args=(name,)) for name in ("ada", "bob")]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    with session_scope(engine) as session:
        roles = sorted(row.role for row in accounts.list_all(session))
    assert roles == ["admin", "viewer"]


def test_a_closed_account_opens_nothing(engine: Engine) -> None:
    with session_scope(engine) as session:
        _, text = tokens.issue(session, owner="bob", name="ci", scopes=["read"], days=1, who="ada")
        accounts.set_active(session, "bob", False, who="ada", reason="left")
    with session_scope(engine) as session:
        assert not accounts.verify(session, "bob", PASSWORD)
        assert tokens.find(session, text, utc_now()) is None


def test_whom_a_provider_vouches_for_has_no_password_and_keeps_the_account(engine: Engine) -> None:
    with session_scope(engine) as session:
        accounts.enter(session, "eve", "https://id.example eve-1", "viewer")
    with session_scope(engine) as session:
        assert not accounts.verify(session, "eve", "")
        again = accounts.enter(session, "renamed", "https://id.example eve-1", "operator")
        assert (again.name, again.role) == ("eve", "operator")
        with pytest.raises(NotAllowed, match="identity provider"):
            accounts.set_password(session, "eve", PASSWORD, who="ada")
    with pytest.raises(Conflict), session_scope(engine) as session:
        accounts.enter(session, "ada", "https://id.example ada-2", "admin")


def test_a_token_is_known_by_its_text_until_it_ends_and_kept_as_a_digest(engine: Engine) -> None:
    with session_scope(engine) as session:
        row, text = tokens.issue(
            session, owner="bob", name="ci", scopes=["approve", "read"], days=2, who="ada"
        )
    now = utc_now()
    with session_scope(engine) as session:
        found = tokens.find(session, text, now)
        assert found is not None
        assert (found[0].id, found[1].name) == (row.id, "bob")
        assert found[0].scopes == ["read", "approve"]
        stored = session.exec(select(TokenRow)).one().model_dump_json()
        said = audit.entries(session, 1)[0].model_dump_json()
        secret = text.rsplit("_", 1)[1]
        assert secret not in stored + said
        assert tokens.find(session, text, now + timedelta(days=3)) is None
        for other in ("", text[:-1], text + "x", "agrs_99_x", "agrs__", "agrs_1e3_x"):
            assert tokens.find(session, other, now) is None
    with session_scope(engine) as session:
        for _ in range(2):
            tokens.revoke(session, row.id or 0, who="ada")
        assert [e.action for e in audit.entries(session, 5)].count("revoke token") == 1
        assert tokens.find(session, text, now) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"scopes": []},
        {"scopes": ["root"]},
        {"scopes": ["administer"]},
        {"days": 0},
        {"days": 366},
        {"name": " "},
    ],
)
def test_a_token_that_would_be_too_strong_or_never_end_is_refused(
    engine: Engine, wrong: dict[str, object]
) -> None:
    given = {"owner": "bob", "name": "ci", "scopes": ["read"], "days": 1, "who": "ada"} | wrong
    with pytest.raises(NotAllowed), session_scope(engine) as session:
        tokens.issue(session, **given)  # type: ignore[arg-type]
    with session_scope(engine) as session:
        assert tokens.list_all(session) == []
