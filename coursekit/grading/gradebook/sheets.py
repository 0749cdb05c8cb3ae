"""CSV files that a person edits in a spreadsheet: read as they may be saved, written safely."""

import csv
import re
from collections.abc import Iterable, Sequence
from io import StringIO
from pathlib import Path


def read(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The lines of a CSV file with a header, and perhaps further columns; none if it is not there.

    UTF-8, or Windows-1252, as some spreadsheets save it; commas or semicolons. ValueError if a
    column is missing, or a line is shorter than the header.
    """
    if not path.exists():
        return []
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
    head = text.split("\n", 1)[0]
    delimiter = ";" if head.count(";") > head.count(",") else ","
    reader = csv.DictReader(StringIO(text, newline=""), delimiter=delimiter)
    lines, missing = list(reader), set(columns) - set(reader.fieldnames or ())
    short = [line for line in lines if any(line.get(column) is None for column in columns)]
    if missing or short:
        where = ""
        if not missing:
            found = delimiter.join(text for text in short[0].values() if text is not None)
            where = f", but one is only {found!r}"
        raise ValueError(
            f"{path} must have the columns {', '.join(columns)} in every line{where}; correct it, "
            "or move it away to start anew"
        )
    return lines


def text(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """The CSV file to fill in."""
    out = StringIO()
    out.write("\ufeff")  # without it some spreadsheets do not read UTF-8
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(lines)
    return out.getvalue()


def points(entered: str, highest: float) -> float | None:
    """A number from 0 to `highest`, with a point or a comma; None if it is something else."""
    try:
        number = float(entered.strip().replace(",", "."))
    except ValueError:
        return None
    return number if 0 <= number <= highest else None


def cell(text: str) -> str:
    """Text that a spreadsheet does not take for a formula, however it splits the line.

    A sign that would begin a formula gets an apostrophe: at the beginning, and wherever a
    spreadsheet that splits at semicolons, tabs or line ends would begin a cell. What cannot be
    printed is left out, since some spreadsheets drop it and then see the sign.
    """
    text = _UNPRINTABLE.sub("", re.sub(r"\r\n?|\x85", "\n", text))
    return _FORMULA.sub(r"\1'\2", text)


_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SEPARATORS = r";\t\n\u2028\u2029"
_FORMULA = re.compile(
    rf"((?:^|(?<=[{_SEPARATORS}]))"
    rf'(?:[^\S{_SEPARATORS}]|["\xad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff])*)'
    r"([=+\-@\uff1d\uff0b\uff0d\uff20])"  # the last four are the full-width forms
)
