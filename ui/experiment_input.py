"""What people hand in about experiments: guardrails in words, files of users who came due.

The same for a command, the API and a form of the console.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence

from agenticrs.evolution.experiments import Told
from agenticrs.platform.errors import DataError
from agenticrs.rewards.experiments.guardrails import Guardrail


def guardrail_of(text: str) -> Guardrail:
    """``leaving=0.05`` shall not grow by more than 5 %, ``+visits=0.02`` not shrink by 2 %.

    Raises DataError.
    """
    name, _, margin = text.partition("=")
    try:
        return Guardrail(
            name.strip().removeprefix("+"),
            margin=float(margin),
            larger_is_better=name.strip().startswith("+"),
        )
    except ValueError as error:
        raise DataError(
            f"{text!r} is no guardrail: {error}", hint="for example leaving=0.05"
        ) from error


def told_of(rows: Iterable[str]) -> Sequence[Told]:
    """The users of a CSV file: ``user``, ``reward``, each guardrail, and maybe ``before``.

    Raises DataError with the line.
    """
    found: list[Told] = []
    reader = csv.DictReader(rows)
    try:
        for row in reader:
            user = (row.pop("user", "") or "").strip()
            before = (row.pop("before", "") or "").strip()
            if not user:
                raise DataError(
                    f"line {reader.line_num} names no user", hint="the first line names the columns"
                )
            metrics = {name: float(value) for name, value in row.items()}
            found.append(Told(user, metrics, float(before) if before else None))
    except (TypeError, ValueError, csv.Error) as error:
        raise DataError(
            f"line {reader.line_num}: {error}", hint="numbers, below their names"
        ) from error
    return found


def told_in(content: bytes) -> Sequence[Told]:
    """The same of an uploaded file, in UTF-8. Raises DataError."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError("the file is no text in UTF-8", hint="save it as CSV, UTF-8") from error
    return told_of(text.splitlines())
