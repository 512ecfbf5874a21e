"""The OpenAPI document: which errors each operation answers, and what one may show to log in.

FastAPI describes what goes in and what comes out when all is well. The rest is the same everywhere
(guard, pace, credentials, ``errors.STATUS``), so it is said here once, by what an operation is:
whether it is open, has parameters, names something by its path, or changes something.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI

from agenticrs.ui.api.models import ErrorBody
from agenticrs.ui.api.pace import FREE
from agenticrs.ui.api.people import CSRF_HEADER, OPEN, SAFE
from agenticrs.ui.api.sessions import COOKIE

ERRORS: dict[int, str] = {
    400: "The platform refuses the request, or the host's name is not ours",
    401: "Nobody is logged in, or what was shown does not fit",
    403: "The role is not enough, the rules forbid it, or another site's page asks",
    404: "It does not exist",
    409: "It has been decided already, or somebody else is changing it",
    413: "The body is too large",
    422: "The named fields are malformed",
    429: "Too many failed logins, or too many requests",
    503: "Nothing serves yet, MLflow or the database is away, or too many requests wait",
}
LOGINS: dict[str, dict[str, Any]] = {
    "token": {"type": "http", "scheme": "bearer", "description": "Of a script: `agrs_...`"},
    "password": {"type": "http", "scheme": "basic"},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": f"Of the console; changes need the session's token in `{CSRF_HEADER}` too.",
    },
}
_HEADERS = {401: "WWW-Authenticate", 429: "Retry-After", 503: "Retry-After"}


def install(app: FastAPI) -> None:
    """Let the app's document say what is really answered."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            complete(plain())
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]


def complete(document: dict[str, Any]) -> None:
    """Add errors and logins to each operation of an OpenAPI document."""
    parts = document.setdefault("components", {})
    schemas = parts.setdefault("schemas", {})
    schemas["ErrorBody"] = ErrorBody.model_json_schema()
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    parts["securitySchemes"] = LOGINS
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            call = (method.upper(), path)
            if call not in OPEN:
                operation["security"] = [{name: []} for name in LOGINS]
            answers = operation["responses"]
            answers.pop("422", None)
            for status in _errors(call, operation):
                answers.setdefault(str(status), _error(status))


def _errors(call: tuple[str, str], operation: dict[str, Any]) -> Iterator[int]:
    """The statuses that an operation can answer with an error."""
    method, path = call
    changes = method not in SAFE
    yield from (400, 413, 503)
    if call not in OPEN:
        yield from (401, 403)
    if changes:
        yield from (403, 409)
    if changes or "{" in path:
        yield 404
    if "parameters" in operation or "requestBody" in operation:
        yield 422
    if call not in OPEN or not path.startswith(FREE):
        yield 429


def _error(status: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "description": ERRORS[status],
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}},
    }
    if status in _HEADERS:
        found["headers"] = {_HEADERS[status]: {"schema": {"type": "string"}}}
    return found
