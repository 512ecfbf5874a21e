"""What a trial's result depends on, as one digest; and its share of a GPU's seconds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("trial", schema=None) as batch_op:
        batch_op.add_column(sa.Column("content", sa.String(), nullable=False, server_default=""))
        batch_op.add_column(
            sa.Column("gpu_seconds", sa.Float(), nullable=False, server_default="0")
        )
    with op.batch_alter_table("trial", schema=None) as batch_op:
        batch_op.alter_column("content", server_default=None)
        batch_op.alter_column("gpu_seconds", server_default=None)
        batch_op.create_index(batch_op.f("ix_trial_content"), ["content"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("trial", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_trial_content"))
        batch_op.drop_column("gpu_seconds")
        batch_op.drop_column("content")
