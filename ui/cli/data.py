"""``agenticrs data``: import, generate, describe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agenticrs.ui.cli.output import JsonOption, emit, err, friendly, out, record, table

if TYPE_CHECKING:
    from agenticrs.platform.data.dataset import Dataset
    from agenticrs.platform.data.importers.columns import ColumnMapping
    from agenticrs.platform.data.raw import RawLog

app = typer.Typer(help="Interaction logs: import, generate, describe.", no_args_is_help=True)
FORMATS = ("movielens", "kuairand", "csv", "parquet")


@app.command("import")
def import_(
    source: Annotated[str, typer.Argument(help="movielens, kuairand, csv or parquet")],
    path: Annotated[Path, typer.Argument(help="Folder (movielens, kuairand) or log file")],
    name: Annotated[str | None, typer.Option(help="Name of the dataset")] = None,
    mapping: Annotated[
        Path | None, typer.Option(help="TOML file: which column is what (csv, parquet)")
    ] = None,
    users: Annotated[Path | None, typer.Option(help="File of users (csv, parquet)")] = None,
    items: Annotated[Path | None, typer.Option(help="File of items (csv, parquet)")] = None,
    keep_good: Annotated[
        bool, typer.Option("--keep-good", help="Leave bad rows out instead of refusing the file")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Read a log, check every row, and store it as a fingerprinted dataset."""
    with friendly():
        from agenticrs.platform.errors import DataError
        from agenticrs.platform.settings import load_settings

        if source not in FORMATS:
            raise DataError(f"unknown format {source!r}", hint=f"one of {', '.join(FORMATS)}")
        chosen = name or path.resolve().name.split(".")[0].lower()
        with err.status(f"reading {path.name}"):
            raw = _read(source, path, mapping, users, items)
        _store(load_settings().home, chosen, raw, keep_good=keep_good, as_json=as_json)


@app.command()
def generate(
    name: Annotated[str, typer.Option(help="Name of the dataset")] = "generated",
    users: Annotated[int, typer.Option(min=10)] = 2000,
    items: Annotated[int, typer.Option(min=10)] = 800,
    seed: int = 0,
    as_json: JsonOption = False,
) -> None:
    """Generate a video platform with known tastes, drift and multi-behaviour feedback."""
    with friendly():
        from agenticrs.platform.data.generated import GeneratorConfig
        from agenticrs.platform.data.generated import generate as make
        from agenticrs.platform.settings import load_settings

        raw = make(GeneratorConfig(n_users=users, n_items=items, seed=seed)).raw
        _store(load_settings().home, name, raw, keep_good=False, as_json=as_json)


@app.command()
def describe(
    name: Annotated[str | None, typer.Argument(help="Dataset (default: all)")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what is stored: sizes, time span, positives, fingerprints."""
    with friendly():
        from dataclasses import asdict

        from agenticrs.platform.data.store import DatasetStore
        from agenticrs.platform.settings import load_settings

        store = DatasetStore(load_settings().home / "data")
        if name is not None:
            record(name, asdict(store.summary(name)), as_json=as_json)
            return
        rows = [
            {
                "name": s.name,
                "users": s.n_users,
                "items": s.n_items,
                "interactions": s.n_interactions,
                "positives": s.n_positives,
                "positive_means": f"{s.positive.behaviour} >= {s.positive.minimum:g}",
                "fingerprint": s.fingerprint,
            }
            for s in store.list()
        ]
        table("datasets", rows, as_json=as_json, empty="try `agenticrs data generate`")


def _read(
    source: str, path: Path, mapping: Path | None, users: Path | None, items: Path | None
) -> RawLog:
    from agenticrs.platform.data.importers.columns import ColumnMapping, read_csv, read_parquet
    from agenticrs.platform.data.importers.kuairand import read_kuairand
    from agenticrs.platform.data.importers.movielens import read_movielens

    if source == "movielens":
        return read_movielens(path)
    if source == "kuairand":
        return read_kuairand(path)
    read = read_csv if source == "csv" else read_parquet
    return read(path, _mapping(ColumnMapping, mapping), users=users, items=items)


def _mapping(model: type[ColumnMapping], path: Path | None) -> ColumnMapping:
    import tomllib

    from pydantic import ValidationError

    from agenticrs.platform.errors import DataError

    if path is None:
        return model()
    try:
        return model.model_validate(tomllib.loads(path.read_text()))
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise DataError(f"mapping {path}: {error}", hint="see docs/data.md") from error


def _store(home: Path, name: str, raw: RawLog, *, keep_good: bool, as_json: bool) -> Dataset:
    from agenticrs.platform.data.store import DatasetStore

    store = DatasetStore(home / "data")
    with err.status("checking and storing"):
        dataset = store.save(name, raw, keep_good=keep_good)
    summary = {
        "name": dataset.name,
        "fingerprint": dataset.fingerprint,
        "users": dataset.n_users,
        "items": dataset.n_items,
        "interactions": len(dataset.interactions),
        "notes": list(store.summary(name).notes),
    }
    if as_json:
        emit(summary)
        return dataset
    record("stored", summary, as_json=False)
    out.print(f"next: agenticrs evolve --dataset {name}")
    return dataset
