"""Label files as lines that know where they stand: text, CSV, Excel and MATLAB. Every fault names file and line, what
was found and what is expected; all faults of a file are raised together."""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from workers.data.layouts.rows import DataSetError, Row, each, read_file, read_text


@dataclass(frozen=True)
class Line:
    """One line of a label file."""

    where: str
    """File and line for a person: dmos.csv:17."""
    fields: tuple[str, ...]

    def number(self, index: int) -> float:
        """The field as a float. Raises DataSetError for anything else; whether it is finite the scan says."""
        try:
            return float(self.fields[index])
        except ValueError:
            raise self.fault(f"found {self.fields[index]!r}; expected a number") from None

    def fault(self, sentence: str) -> DataSetError:
        """The error that says `sentence` of this line."""
        return DataSetError([f"{self.where}: {sentence}"])


def rows(lines: Iterable[Line], make: Callable[[Line], Row]) -> list[Row]:
    """A row for every line. Raises DataSetError for all lines that have none, whose image an earlier line has,
    or whose files are not below the set's folder."""
    first: dict[str, str] = {}

    def once(line: Line) -> Row:
        row = make(line)
        for name in filter(None, (row.image, row.reference)):
            if not _is_inside(name):
                raise line.fault(f"found the name {name!r}; expected the path of a file in the data set, without ..")
        if first.setdefault(row.image.casefold(), line.where) != line.where:
            earlier = first[row.image.casefold()]
            raise line.fault(f"found the image {row.image} again (first: {earlier}); expected each image once")
        return row

    return each(lines, once)


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\0" not in name


def text(path: Path, columns: Sequence[str], separator: str | None = None) -> list[Line]:
    """Lines of a file without header; `separator` None: any white space. Empty lines are skipped."""
    numbered = enumerate(read_text(path).splitlines(), 1)
    split = [(number, [part.strip() for part in line.split(separator)]) for number, line in numbered if line.strip()]
    return _checked(path, split, columns)


def csv_table(path: Path) -> tuple[list[str], list[Line]]:
    """(header, lines) of a comma-separated file whose first line names the columns."""
    reader = csv.reader(read_text(path).splitlines())
    try:
        found = [(reader.line_num, [field.strip() for field in fields]) for fields in reader if fields]
    except csv.Error as error:
        raise DataSetError([f"{path}:{reader.line_num}: {error}; expected the table as it was released"]) from None
    if not found:
        raise DataSetError([f"{path}:1: found an empty file; expected a line of column names"])
    header = found[0][1]
    return header, _checked(path, found[1:], header)


def csv_columns(path: Path, columns: Sequence[str]) -> list[Line]:
    """Lines of a comma-separated file whose header is exactly `columns`."""
    header, lines = csv_table(path)
    if header != list(columns):
        raise DataSetError([f"{path}:1: found the columns {', '.join(header)}; expected {', '.join(columns)}"])
    return lines


def sheet(path: Path, columns: Sequence[str]) -> list[Line]:
    """The named columns of the first sheet of an Excel workbook, in that order; others are not looked at."""
    import openpyxl

    content = io.BytesIO(read_file(path))
    try:
        found = list(openpyxl.load_workbook(content, data_only=True).worksheets[0].values)
    except Exception as error:  # openpyxl lets errors of zip, XML and its own through
        raise DataSetError([f"{path}: not readable as an Excel workbook ({error})"]) from error
    header = [str(name) for name in found[0]] if found else []
    if set(columns) - set(header):
        names = ", ".join(header) or "none"
        raise DataSetError([f"{path}:1: found the columns {names}; expected among them {', '.join(columns)}"])
    indices = [header.index(name) for name in columns]
    numbered = [(number, row) for number, row in enumerate(found[1:], 2) if any(cell is not None for cell in row)]
    return [Line(f"{path}:{number}", tuple(str(row[i]) for i in indices)) for number, row in numbered]


def matlab(path: Path, variable: str) -> list[str]:
    """The entries of a vector of numbers or strings in a MATLAB file (before version 7.3), as text that keeps every
    bit of a number."""
    import scipy.io

    content = io.BytesIO(read_file(path))
    try:
        found: dict[str, Any] = scipy.io.loadmat(content)
        entries = [_entry(value) for value in found[variable].ravel()] if variable in found else None
    except Exception as error:  # scipy's own, NotImplementedError for version 7.3, zlib.error, struct.error
        raise DataSetError([f"{path}: not readable as a MATLAB file before version 7.3 ({error})"]) from error
    if entries is None:
        names = ", ".join(name for name in found if not name.startswith("__")) or "none"
        raise DataSetError([f"{path}: found the variables {names}; expected {variable}"])
    return entries


def _entry(value: Any) -> str:
    """A number, or a cell: an array that holds one string or number, or nothing."""
    first = value.ravel()[0] if value.size else ""
    return str(first) if isinstance(first, str) else repr(float(first))


def _checked(path: Path, numbered: Iterable[tuple[int, list[str]]], columns: Sequence[str]) -> list[Line]:
    def checked(entry: tuple[int, list[str]]) -> Line:
        line = Line(f"{path}:{entry[0]}", tuple(entry[1]))
        if len(line.fields) != len(columns):
            raise line.fault(f"found {len(line.fields)} fields; expected {len(columns)}: {', '.join(columns)}")
        return line

    return each(numbered, checked)
