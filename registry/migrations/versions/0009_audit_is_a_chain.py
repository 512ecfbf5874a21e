"""The audit log becomes a chain: what is there already is chained as it stands."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_append_only = import_module("agenticrs.registry.migrations.versions.0002_audit_is_append_only")


def upgrade() -> None:
    _append_only.downgrade()
    for name in ("previous", "digest"):
        op.add_column("audit", sa.Column(name, sa.String(), nullable=False, server_default=""))
    entry, digest = _chain()
    with op.batch_alter_table("audit", schema=None) as batch_op:
        batch_op.alter_column("previous", server_default=None)
        batch_op.alter_column("digest", server_default=None)
        batch_op.create_unique_constraint("uq_audit_previous", ["previous"])
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("entry", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.bulk_insert(head, [{"id": 1, "entry": entry, "digest": digest}])
    _append_only.upgrade()


def downgrade() -> None:
    _append_only.downgrade()
    op.drop_table("audit_head")
    with op.batch_alter_table("audit", schema=None) as batch_op:
        batch_op.drop_constraint("uq_audit_previous", type_="unique")
        batch_op.drop_column("digest")
        batch_op.drop_column("previous")
    _append_only.upgrade()


def _chain() -> tuple[int, str]:
    """Number the entries without gaps and chain them; the last number and digest.

    The digest is computed here as it was when this migration was written, whatever the registry
    does later.
    """
    table = sa.table(
        "audit",
        sa.column("id", sa.Integer),
        sa.column("at", sa.DateTime(timezone=True)),
        *(sa.column(name, sa.String) for name in ("who", "action", "subject", "reason")),
        *(sa.column(name, sa.JSON) for name in ("before", "after")),
        *(sa.column(name, sa.String) for name in ("previous", "digest")),
    )
    connection = op.get_bind()
    number, previous = 0, ""
    rows = connection.execute(sa.select(table).order_by(table.c.id)).mappings().all()
    for row in rows:
        number += 1
        values: dict[str, Any] = {**row, "id": number, "previous": previous}
        del values["digest"]
        digest = _digest(values)
        connection.execute(
            table.update()
            .where(table.c.id == row["id"])
            .values(id=number, previous=previous, digest=digest)
        )
        previous = digest
    return number, previous


def _digest(values: dict[str, Any]) -> str:
    at: datetime = values["at"]
    utc = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    text = json.dumps(
        {**values, "at": utc.isoformat()}, sort_keys=True, separators=(",", ":"), ensure_ascii=True
    )
    return hashlib.sha256(text.encode()).hexdigest()
