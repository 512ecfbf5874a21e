"""The audit log: who changed what, when and why, as a chain that shows what was touched.

Each entry holds the digest of the one before and one of its own, over everything it says. The
database refuses to change or delete entries; whoever goes behind that breaks the chain, and
``verify`` names the first entry that does not fit. A head row holds the last digest, so that
entries cut off at the end are missed too. Who can rewrite the whole file can rewrite the whole
chain: keep the last digest elsewhere now and then (``agenticrs audit verify`` prints it).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import or_, update
from sqlmodel import Session, col, select

from agenticrs.registry.tables import AuditHeadRow, AuditRow, utc_now

HEAD = 1
"""The only row of the table of heads."""


@dataclass(frozen=True)
class Verdict:
    """Whether the chain holds: how many entries fit, the last digest, and what is wrong first."""

    entries: int
    digest: str
    broken: int | None = None
    """Id of the first entry that does not fit, or that is missing."""
    problem: str = ""


def record(
    session: Session,
    *,
    who: str,
    action: str,
    subject: str,
    reason: str = "",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> AuditRow:
    """Append one entry; it is there when the caller's transaction commits.

    The end of the chain is held until then, so other writers wait: record last, and do not wait for
    anything else afterwards.
    """
    # A write first: on SQLite it takes the lock on the file, on PostgreSQL that on the row, and
    # what is read after it is what nobody else can change before this transaction ends.
    session.connection().execute(
        update(AuditHeadRow).where(col(AuditHeadRow.id) == HEAD).values(id=HEAD)
    )
    head = session.exec(select(AuditHeadRow).execution_options(populate_existing=True)).one()
    row = AuditRow(
        id=head.entry + 1,
        at=utc_now(),
        who=who,
        action=action,
        subject=subject,
        reason=reason,
        before=_plain(before),
        after=_plain(after),
        previous=head.digest,
    )
    row.digest = digest_of(row)
    head.entry, head.digest = head.entry + 1, row.digest
    session.add(row)
    session.add(head)
    session.flush()
    return row


def digest_of(row: AuditRow) -> str:
    """SHA-256 over everything that the entry says, and over the digest of the one before."""
    return digest_of_values(row.model_dump(exclude={"digest"}))


def digest_of_values(values: Mapping[str, Any]) -> str:
    """The same from the columns; moments have a time zone."""
    said = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in values.items()
    }
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def verify(session: Session, digest: str | None = None) -> Verdict:
    """Whether every entry says what it said; ``digest``: of an entry that must be among them."""
    previous, expected, seen = "", 1, digest is None
    rows = select(AuditRow).order_by(col(AuditRow.id)).execution_options(yield_per=1000)
    for row in session.exec(rows):
        number = row.id or 0
        problem = ""
        if number != expected:
            problem = f"entry {expected} is missing"
        elif row.previous != previous:
            problem = f"entry {number} does not follow the one before it"
        elif row.digest != digest_of(row):
            problem = f"entry {number} was changed"
        if problem:
            return Verdict(expected - 1, previous, expected, problem)
        previous, expected, seen = row.digest, number + 1, seen or row.digest == digest
    head = session.get(AuditHeadRow, HEAD)
    last = expected - 1
    if head is None or (head.entry, head.digest) != (last, previous):
        return Verdict(last, previous, expected, f"entries after {last} are missing")
    if not seen:
        return Verdict(last, previous, expected, "no entry has the given digest: all was rewritten")
    return Verdict(last, previous)


def entries(
    session: Session,
    limit: int = 100,
    before_id: int | None = None,
    action: str | None = None,
    *,
    who: str | None = None,
    about: str | None = None,
) -> list[AuditRow]:
    """The newest entries first; ``before_id`` pages on, ``action`` keeps one kind.

    ``who`` keeps what one did, ``about`` what says these words in its subject or reason.
    """
    query = select(AuditRow).order_by(col(AuditRow.id).desc()).limit(limit)
    if before_id is not None:
        query = query.where(col(AuditRow.id) < before_id)
    if action is not None:
        query = query.where(AuditRow.action == action)
    if who is not None:
        query = query.where(AuditRow.who == who)
    if about is not None:
        query = query.where(
            or_(
                col(AuditRow.subject).icontains(about, autoescape=True),
                col(AuditRow.reason).icontains(about, autoescape=True),
            )
        )
    return list(session.exec(query))


def actions(session: Session) -> list[str]:
    """The kinds of entries that there are."""
    return sorted(session.exec(select(AuditRow.action).distinct()))


def _plain(values: Mapping[str, Any] | None) -> dict[str, Any]:
    """As the database will give them back: only then the digest can be checked."""
    found: dict[str, Any] = json.loads(json.dumps(dict(values or {})))
    return found
