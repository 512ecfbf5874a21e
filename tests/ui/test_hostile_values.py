"""Hostile values in every parameter of every route, the console's forms too: none is answered 5xx,
and none becomes a part of a statement for the database.

The routes and their parameters are read from the app: a new one is tried at once. What is sent as a
value must reach the database as a value: so a statement that holds a piece of it is an injection,
whatever it does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import routing
from pydantic import BaseModel
from sqlalchemy import event, text
from starlette.routing import Mount
from tests.ui.conftest import Place, build_place
from tests.ui.console.lived_in import live_in
from tests.ui.test_administration import browser

from agenticrs.registry.tables import AuditRow
from agenticrs.ui.api.people import CSRF_HEADER

pytestmark = pytest.mark.slow
MARK = "zqx"
SQL = (f"{MARK}' OR '1'='1", f'{MARK}"; DROP TABLE account; --', f"{MARK}%') UNION SELECT 1 --")
WORDS = (
    *SQL,
    "",
    "\x00",
    "\u202e\u200b\u0663",
    "%",
    "../../etc/passwd",
    "-1",
    "9" * 400,
    "NaN",
    "x" * 5000,
)
KNOWN = {"name": "nightly", "ending": "md", "run_id": "x"}
"""Path parameters of what there is; all others are numbers."""


@dataclass(frozen=True)
class Door:
    """A route and the names of what it takes: in its path, its query, and its form or its body."""

    method: str
    path: str
    names: tuple[str, ...]
    query: tuple[str, ...]
    form: tuple[str, ...]
    body: type[BaseModel] | None


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = build_place(tmp_path_factory.mktemp("values"), requests_per_minute=0)
    live_in(made)
    yield made
    made.serving.stop()
    made.engine.dispose()


@pytest.fixture
def statements(place: Place) -> Iterator[list[str]]:
    """Statements that the database was handed with a piece of what was sent in them."""
    found: list[str] = []

    def look(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if MARK in statement:
            found.append(statement)

    event.listen(place.engine, "before_cursor_execute", look)
    yield found
    event.remove(place.engine, "before_cursor_execute", look)


def doors(app: Any) -> Iterator[Door]:
    for route in routing.iter_route_contexts(app.routes):
        if isinstance(route.original_route, Mount) or str(route.path).endswith("/events"):
            continue  # streams do not end
        dependant = getattr(route, "dependant", None)
        if dependant is None:
            continue
        body = fields(dependant, "body_params")
        types = [field.field_info.annotation for field in body]
        model = next((t for t in types if isinstance(t, type) and issubclass(t, BaseModel)), None)
        for method in sorted((route.methods or set()) - {"HEAD", "OPTIONS"}):
            yield Door(
                method,
                str(route.path),
                tuple(re.findall(r"\{([a-z_]+)", str(route.path))),
                tuple(field.alias for field in fields(dependant, "query_params")),
                () if model else tuple(field.alias for field in body),
                model,
            )


def fields(dependant: Any, kind: str) -> list[Any]:
    """Those of a route, and of all that it depends on."""
    inner = [field for one in dependant.dependencies for field in fields(one, kind)]
    return [*getattr(dependant, kind), *inner]


def asked(client: Any, door: Door, values: dict[str, str], body: Any = None) -> Any:
    """The answer to a request with these values, and ordinary ones for the rest of its path."""
    path = door.path
    for name in door.names:
        given = values.get(name, KNOWN.get(name, "1"))
        begin, end = path.index("{" + name), path.index("}", path.index("{" + name)) + 1
        path = path[:begin] + quoted(given) + path[end:]
    told: dict[str, Any] = {"params": {n: values[n] for n in door.query if n in values}}
    if door.body is not None:
        told["json"] = body
    elif door.form:
        fields = {name: values.get(name, "1") for name in door.form}
        told["data"] = {**fields, "csrf": values.get("csrf", client.headers[CSRF_HEADER])}
    return client.request(door.method, path, **told)


def quoted(value: str) -> str:
    return "".join(f"%{byte:02x}" for byte in value.encode()) or "%20"


def filled(schema: dict[str, Any], word: str, parts: dict[str, Any]) -> Any:
    """A body of that form whose texts are all the word."""
    if "$ref" in schema:
        return filled(parts[schema["$ref"].rpartition("/")[2]], word, parts)
    if "anyOf" in schema:
        return filled(schema["anyOf"][0], word, parts)
    if "enum" in schema or "const" in schema:
        return schema["const"] if "const" in schema else schema["enum"][0]
    kind = schema.get("type")
    if kind == "object":
        inner = schema.get("properties", {})
        return {name: filled(one, word, parts) for name, one in inner.items()}
    if kind == "array":
        return [filled(schema.get("items", {}), word, parts)]
    plain = {"integer": 1, "number": 1.0, "boolean": True}
    return plain.get(str(kind), word)


def requests(door: Door) -> Iterator[tuple[dict[str, str], Any]]:
    """Each word in the path alone and in all else alone; and a bad one in each place alone."""
    schema = door.body.model_json_schema() if door.body else {}
    others = tuple(name for name in (*door.query, *door.form) if name != "csrf")

    def body(word: str) -> Any:
        return filled(schema, word, schema.get("$defs", {})) if door.body else None

    for word in WORDS:
        if door.names:
            yield dict.fromkeys(door.names, word), body("1")
        if others or door.body:
            yield dict.fromkeys(others, word), body(word)
    for place in (*door.names, *door.query, *door.form):
        yield {place: SQL[0]}, body("1")


def test_no_value_is_answered_5xx_or_becomes_a_part_of_a_statement(
    place: Place, statements: list[str]
) -> None:
    tried = reached = 0
    client = browser(place, "admin")
    for door in doors(client.app):
        if door.path in ("/login/provider", "/login/provider/back"):
            continue  # another server answers there
        for values, body in requests(door):
            answer = asked(client, door, values, body)
            tried += 1
            assert answer.status_code < 500, (door, values, answer.text)
            assert statements == [], (door, values)
            reached += answer.status_code not in (303, 401, 403)
        if door.path in ("/login", "/logout"):
            client = browser(place, "admin")  # that session has ended
    assert tried > 800
    assert reached > 0.8 * tried, "somebody who is logged out tries nothing"


def test_a_statement_with_a_piece_of_a_value_in_it_would_be_seen(
    place: Place, statements: list[str]
) -> None:
    with place.engine.connect() as connection:
        connection.execute(text("SELECT 1 WHERE :word = ''"), {"word": SQL[0]})
        assert statements == []
        connection.execute(text(f"SELECT count(*) FROM audit WHERE who = '{MARK}'"))
    assert len(statements) == 1
    assert AuditRow.__tablename__ in statements[0]
