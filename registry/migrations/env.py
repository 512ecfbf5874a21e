"""Run by Alembic: hands it the connection that ``schema.upgrade`` opened, and our tables."""

from __future__ import annotations

from alembic import context
from sqlmodel import SQLModel

from agenticrs.registry import tables  # noqa: F401 (declares the tables)

VERSION_TABLE = "agenticrs_schema"


def _ours(obj: object, name: str | None, kind: str, reflected: bool, compare_to: object) -> bool:
    """Optuna keeps its tables in the same database: they are none of our business."""
    return kind != "table" or name in SQLModel.metadata.tables


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    version_table=VERSION_TABLE,
    include_object=_ours,
    render_as_batch=True,
    compare_type=False,
)
with context.begin_transaction():
    context.run_migrations()
