"""Policies as data; the risk of proposals, who asked for them, and when approvals expire."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_UNKNOWN = '{"change": "composition", "level": "medium", "reasons": [], "effect": null}'
"""Of proposals that were filed before there were policies: one person decides, as until now."""


def upgrade() -> None:
    op.create_table(
        "policy",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("who", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("proposal", schema=None) as batch_op:
        batch_op.add_column(sa.Column("risk", sa.JSON(), nullable=False, server_default=_UNKNOWN))
        batch_op.add_column(
            sa.Column("proposed_by", sa.String(), nullable=False, server_default="evolution")
        )
    with op.batch_alter_table("decision", schema=None) as batch_op:
        batch_op.add_column(sa.Column("policy", sa.Integer(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("decision", schema=None) as batch_op:
        batch_op.drop_column("expires_at")
        batch_op.drop_column("policy")
    with op.batch_alter_table("proposal", schema=None) as batch_op:
        batch_op.drop_column("proposed_by")
        batch_op.drop_column("risk")
    op.drop_table("policy")
