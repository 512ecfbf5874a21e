"""Reading of text tables for the importers, with errors that a person can act on.

Cells come as text and become numbers here, so that a cell that is no number is reported with its
file, row and column. What the columns mean is not known here.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from agenticrs.platform.errors import DataError

_UNIT = "\x1f"
"""Stands in for separators of several characters, which Arrow cannot split at."""
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?(?i:nan|inf|infinity)$"


def find_file(folder: Path, names: Sequence[str]) -> Path | None:
    """The first of ``names`` that lies in ``folder`` or its ``data`` folder, plain or as .gz."""
    for name in names:
        for place in (folder, folder / "data"):
            for path in (place / name, place / f"{name}.gz"):
                if path.is_file():
                    return path
    return None


def read_text_table(
    path: Path,
    *,
    names: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    delimiter: str = ",",
    encoding: str = "utf-8",
    quoted: bool = True,
) -> pa.Table:
    """Read a delimited file (.gz too) with every cell as text; empty cells are null.

    Args:
        path: The file.
        names: Column names of a file without a header; None when its first row has them.
        columns: The columns to keep; None keeps all.
        delimiter: One or more characters.
        encoding: Of the file's text.
        quoted: Whether cells may stand in double quotes.

    Raises:
        DataError: The file is missing, empty, ragged, wrongly encoded, or lacks a column.
    """
    require_file(path)
    present = list(names) if names is not None else header(path, delimiter, encoding)
    require_columns(path, present, columns or ())
    source: Path | pa.BufferReader = path
    if len(delimiter) > 1:
        content = _content(path).replace(delimiter.encode(encoding), _UNIT.encode())
        source, delimiter = pa.BufferReader(content), _UNIT
    keep = list(columns if columns is not None else present)
    parse = pyarrow.csv.ParseOptions(delimiter=delimiter, quote_char='"' if quoted else False)
    convert = pyarrow.csv.ConvertOptions(
        column_types=dict.fromkeys(keep, pa.string()),
        include_columns=keep,
        strings_can_be_null=True,
        null_values=[""],
        quoted_strings_can_be_null=True,
    )
    try:
        table = pyarrow.csv.read_csv(
            source,
            read_options=pyarrow.csv.ReadOptions(column_names=names, encoding=encoding),
            parse_options=parse,
            convert_options=convert,
        )
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise _unreadable(
            path, error, delimiter, encoding, present, has_header=names is None
        ) from error
    if not table.num_rows:
        raise DataError(f"{path.name}: the file has no rows", hint="export the log again")
    return table


def header(path: Path, delimiter: str = ",", encoding: str = "utf-8") -> list[str]:
    """The column names in the first row of a delimited file.

    Raises:
        DataError: The file is missing, empty, wrongly encoded or starts with a blank row.
    """
    require_file(path)
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding=encoding, newline="") as file:
            line = file.readline().lstrip("\ufeff")
    except (UnicodeDecodeError, OSError) as error:
        raise _unreadable(path, error, delimiter, encoding, [], has_header=True) from error
    if not line.strip():
        raise DataError(
            f"{path.name}: the file has no header", hint="its first row must name the columns"
        )
    if len(delimiter) > 1:
        return line.rstrip("\r\n").split(delimiter)
    return next(csv.reader([line], delimiter=delimiter))


def parquet_header(path: Path) -> list[str]:
    """The column names of a Parquet file or folder."""
    return list(_parquet(path).schema.names)


def read_parquet_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet file (or a folder of them).

    Raises:
        DataError: The file is missing, empty, no Parquet, or lacks a column.
    """
    content = _parquet(path)
    require_columns(path, content.schema.names, columns or ())
    table = content.read(columns=list(columns) if columns is not None else None)
    if not table.num_rows:
        raise DataError(f"{path.name}: the file has no rows", hint="export the log again")
    return table


def require_file(path: Path) -> None:
    """Raise DataError unless ``path`` is a file with content."""
    if not path.is_file():
        raise DataError(f"{path}: there is no such file", hint="check the path")
    if path.stat().st_size == 0:
        raise DataError(f"{path.name}: the file is empty", hint="export the log again")


def require_columns(path: Path, present: Sequence[str], wanted: Sequence[str]) -> None:
    """Raise DataError naming the first of the ``wanted`` columns that is not ``present``."""
    for column in wanted:
        if column not in present:
            raise DataError(
                f"{path.name}: column {column!r} is missing",
                hint="the file has " + ", ".join(present) + "; name the right one in the mapping",
            )


def numbers(column: pa.ChunkedArray, file: str, name: str) -> pa.ChunkedArray:
    """Text or numbers as float64; null stays null.

    Raises:
        DataError: A cell is no number (the first one is named, and how many there are).
    """
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        return column.cast(pa.float64())
    if pa.types.is_boolean(column.type):
        return column.cast(pa.int8()).cast(pa.float64())
    if not _is_text(column):
        raise DataError(
            f"{file}, column {name!r}: holds {column.type}, which is no number",
            hint="map another column",
        )
    try:
        return column.cast(pa.float64())
    except pa.ArrowInvalid:
        text = pc.utf8_trim_whitespace(column)
        parsed = pc.match_substring_regex(text, _NUMBER)
        _refuse_unparsed(column, parsed, file, name, "a number")
        return text.cast(pa.float64())


def integers(column: pa.ChunkedArray, file: str, name: str, scale: float = 1) -> pa.ChunkedArray:
    """Text or numbers, times ``scale``, rounded down to int64; null stays null, NaN becomes it.

    Raises:
        DataError: A cell is no number, infinite or beyond 64 bits.
    """
    if _is_text(column):
        try:
            column = column.cast(pa.int64())
        except pa.ArrowInvalid:
            column = numbers(column, file, name)
    if pa.types.is_integer(column.type) and scale == 1:
        return column.cast(pa.int64())
    if pa.types.is_integer(column.type) and scale < 1:
        # Integer division: a double has too few digits for microseconds.
        divisor = round(1 / scale)
        whole = pc.divide(column, divisor)
        below = pc.less(column, pc.multiply(whole, divisor))
        return pc.subtract(whole, below.cast(column.type)).cast(pa.int64())
    values = pc.multiply(numbers(column, file, name), scale)
    values = pc.if_else(pc.is_nan(values), None, values)
    usable = pc.and_(pc.is_finite(values), pc.less(pc.abs(values), 2.0**62))
    _refuse_unparsed(column, usable, file, name, "a finite number")
    return pc.floor(values).cast(pa.int64())


def moments(column: pa.ChunkedArray, file: str, name: str) -> pa.ChunkedArray:
    """ISO 8601 text or Arrow times as Unix seconds (UTC where no zone is given), int64.

    Raises:
        DataError: A cell is no such time.
    """
    kind = column.type
    if not (_is_text(column) or pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        raise DataError(
            f"{file}, column {name!r}: holds {kind}, not times",
            hint="set time_unit to s, ms or us",
        )
    if _is_text(column):
        text = pc.utf8_trim_whitespace(column)
        parsed = pc.match_substring_regex(
            text, r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?)?$"
        )
        _refuse_unparsed(column, parsed, file, name, "an ISO 8601 time")
        column = _parse_moments(column, text, file, name)
    return column.cast(pa.timestamp("s"), safe=False).cast(pa.int64())


def _parse_moments(
    column: pa.ChunkedArray, text: pa.ChunkedArray, file: str, name: str
) -> pa.ChunkedArray:
    zoned = pc.match_substring_regex(text, r"(Z|[+-]\d\d:?\d\d)$")
    # Arrow takes zones in all cells or in none: say UTC where nothing is said.
    dated = pc.match_substring_regex(text, r"^\d{4}-\d\d-\d\d$")
    text = pc.if_else(dated, pc.binary_join_element_wise(text, "T00:00Z", ""), text)
    bare = pc.invert(pc.or_(zoned, dated))
    text = pc.if_else(bare, pc.binary_join_element_wise(text, "Z", ""), text)
    try:
        return text.cast(pa.timestamp("ns", "UTC"))
    except pa.ArrowInvalid as error:
        raise DataError(
            f"{file}, column {name!r}: a cell is no valid time ({error})",
            hint="correct the cell; months, days and hours must exist",
        ) from error


def texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Any plain column as text (ids and categories); whole floats lose their ``.0``."""
    if _is_text(column):
        return column.cast(pa.string())
    if pa.types.is_dictionary(column.type):
        return texts(column.cast(column.type.value_type))
    if pa.types.is_floating(column.type):
        return pc.replace_substring_regex(column.cast(pa.string()), r"\.0$", "")
    return column.cast(pa.string())


def tags(column: pa.ChunkedArray, separator: str = "|") -> pa.ChunkedArray:
    """``a|b`` as the list of tags [a, b]; lists pass through as lists of text."""
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        return column.cast(pa.list_(pa.string()))
    return pc.split_pattern(texts(column), separator)


def scaled(column: pa.ChunkedArray, factor: float) -> pa.ChunkedArray:
    """The numbers times ``factor``."""
    return column if factor == 1 else pc.multiply(column, factor)


def rest_of_second(
    clock: pa.ChunkedArray, seconds: pa.ChunkedArray, file: str, name: str, units: int
) -> pa.ChunkedArray:
    """What ``clock`` (``units`` a second) has beyond the whole ``seconds``, int64."""
    return pc.subtract(integers(clock, file, name), pc.multiply(seconds, units))


def _is_text(column: pa.ChunkedArray) -> bool:
    return bool(pa.types.is_string(column.type) or pa.types.is_large_string(column.type))


def _parquet(path: Path) -> pyarrow.parquet.ParquetDataset:
    if not path.is_dir():
        require_file(path)
    try:
        return pyarrow.parquet.ParquetDataset(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(
            f"{path.name}: not a Parquet file ({error})", hint="check the path"
        ) from error


def _content(path: Path) -> bytes:
    data = path.read_bytes()
    return gzip.decompress(data) if path.suffix == ".gz" else data


def _unreadable(
    path: Path,
    error: Exception,
    delimiter: str,
    encoding: str,
    header: list[str],
    *,
    has_header: bool,
) -> DataError:
    if isinstance(error, UnicodeDecodeError) or "UTF8" in str(error) or "codec" in str(error):
        return DataError(
            f"{path.name}: the text is not {encoding}",
            hint="give the file's encoding (latin-1, say)",
        )
    ragged = _first_ragged(path, delimiter, encoding, len(header))
    if ragged is None:
        return DataError(
            f"{path.name}: cannot be read ({error})", hint="check that it is delimited text"
        )
    line, count = ragged
    return DataError(
        f"{path.name}, row {line - has_header}: {count} columns where {len(header)} are expected "
        f"(line {line} of the file)",
        hint="correct the row, or give the right delimiter",
    )


def _first_ragged(path: Path, delimiter: str, encoding: str, width: int) -> tuple[int, int] | None:
    """Line number and width of the first line that does not fit; only on the way to an error."""
    try:
        lines = _content(path).decode(encoding).splitlines()
    except (UnicodeDecodeError, OSError):
        return None
    for number, line in enumerate(lines, 1):
        if line and '"' not in line and (count := line.count(delimiter) + 1) != width:
            return number, count
    return None


def _refuse_unparsed(
    column: pa.ChunkedArray, parsed: pa.ChunkedArray, file: str, name: str, what: str
) -> None:
    bad = pc.and_(pc.invert(pc.fill_null(parsed, True)), pc.is_valid(column))
    count = pc.sum(bad).as_py() or 0
    if count:
        place = pc.index(bad, True).as_py()
        more = f" ({count:,} such cells)" if count > 1 else ""
        raise DataError(
            f"{file}, row {place + 1}, column {name!r}: "
            f"{column[place].as_py()!r} is not {what}{more}",
            hint="correct the cells, or map another column",
        )
