"""Failed logins, so that every process counts the same ones."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "failed_login",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("failed_login", schema=None) as batch_op:
        for column in ("name", "address", "at"):
            batch_op.create_index(batch_op.f(f"ix_failed_login_{column}"), [column])


def downgrade() -> None:
    op.drop_table("failed_login")
