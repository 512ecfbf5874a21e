"""How many answers a user got in a canary, and how long they took."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "exposure", sa.Column("answers", sa.Integer(), nullable=False, server_default="1")
    )
    op.add_column(
        "exposure", sa.Column("milliseconds", sa.Float(), nullable=False, server_default="0")
    )


def downgrade() -> None:
    op.drop_column("exposure", "milliseconds")
    op.drop_column("exposure", "answers")
