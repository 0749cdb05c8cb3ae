"""Reads a notebook that someone handed in: as data, never by running it here."""

import ast
import builtins
import itertools
import json
import re
import warnings
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache

from coursekit.grading.gradebook.statements import Statement, spells, statement

MAX_BYTES = 20 * 2**20
MAX_CODE, MAX_STATEMENTS = 2**19, 20_000
"""Characters and top-level statements of a notebook that are read. What is beyond is no answer,
and reading it here could take hours."""
MAX_EFFECTS = 100
"""Global names that functions of the notebook change, as far as they are followed."""

Cells = list[tuple[int, str, list[int]]]
"""What to run: a cell's number, its source, and which of its top-level statements."""


class Unreadable(Exception):
    """This is not a notebook that can be graded; the message says why."""


@dataclass(frozen=True)
class Cell:
    number: int
    """Position in the notebook, from 1, markdown cells counted too."""
    code: bool
    source: str


def read(data: bytes) -> list[Cell]:
    """The cells of a notebook, in their order. `Unreadable` if it is none."""
    if len(data) > MAX_BYTES:
        raise Unreadable(
            f"the file has {len(data) / 2**20:.0f} MB, more than {MAX_BYTES // 2**20}: "
            "clear the outputs and hand it in again"
        )
    if not data.strip():
        raise Unreadable("the file is empty")
    try:
        notebook = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise Unreadable(
            f"this is not a notebook, or only a part of one (no valid JSON: {str(error)[:200]}): "
            "save it again as .ipynb, see that it opens, and hand in that file"
        ) from error
    if not isinstance(notebook, dict):
        raise Unreadable("this is JSON, but not a notebook")
    cells = notebook.get("cells")
    if cells is None and isinstance(notebook.get("worksheets"), list):  # format 3 and before
        sheets = [sheet.get("cells") for sheet in notebook["worksheets"] if isinstance(sheet, dict)]
        cells = [cell for sheet in sheets if isinstance(sheet, list) for cell in sheet]
    if not isinstance(cells, list):
        raise Unreadable("this is JSON, but not a notebook: it has no cells")
    found = [_cell(number, cell) for number, cell in enumerate(cells, start=1)]
    return [cell for cell in found if cell is not None]


def _cell(number: int, cell: object) -> Cell | None:
    if not isinstance(cell, dict):
        return None
    source = cell.get("source", cell.get("input", ""))
    if isinstance(source, list):
        source = "".join(part for part in source if isinstance(part, str))
    if not isinstance(source, str):
        return None
    # A lone surrogate is valid in JSON and can be neither compiled nor written out.
    source = source.encode(errors="replace").decode().replace("\0", "")
    return Cell(number, cell.get("cell_type") == "code", source)


def plain(source: str) -> str:
    """A cell without IPython's magics, line for line; unchanged if it has none."""
    if re.match(r"\s*%%(?!time|capture|prun)", source):
        return ""  # another language, or a file to write
    lines, going_on = [], False
    for line in re.sub(r"^\s*%%.*", "", source, count=1).split("\n"):
        without = "" if going_on else _plain(line)
        going_on = without != line and line.endswith("\\")  # `!pip install \\`, and more below
        lines.append(without)
    return "\n".join(lines)


def _plain(line: str) -> str:
    if match := re.match(r"(\s*)%time\s+(.+)", line):
        return f"{match[1]}{match[2]}"
    if match := re.match(r"(\s*)(%|!|\?)", line):
        return f"{match[1]}pass"
    if match := re.match(r"([\w, \t]+=[ \t]*)[%!]", line):
        return f"{match[1]}None"
    if re.match(r"\s*[\w.]+\?{1,2}\s*$", line):
        return "pass"
    return line


@dataclass(frozen=True)
class Slice:
    """What of a notebook has to run for one answer."""

    name: str
    until: int
    """The place of the last statement that had run when the answer was defined, or last checked:
    names mean what they meant then."""
    places: frozenset[int]
    """The statements that have to run. Some may lie beyond `until`: they bind what had no meaning
    by then, as in a notebook whose cells were run in another order."""
    settled: frozenset[str]
    """The names that had a meaning by then."""
    imports: frozenset[str]
    """The text of the imports among the statements."""


@dataclass(frozen=True)
class Program:
    """The code of a notebook: what can be compiled, and what cannot."""

    sources: dict[int, str]
    """By cell: its source, magics gone."""
    statements: tuple[Statement, ...]
    places: tuple[tuple[int, int], ...]
    """Where each statement stands: its cell, and which of the cell's statements it is."""
    errors: dict[int, str]
    """By cell: why it cannot be compiled."""

    def defines(self, name: str) -> bool:
        return name in self._makers or any(s.anything for s in self.statements)

    def spelled(self, names: Iterable[str]) -> set[int]:
        """The cells that may make one of these names in a way that reading does not show."""
        return {
            number
            for number, source in self.sources.items()
            if any(name in source and spells(ast.parse(source), name) for name in names)
        }

    def needed(self, names: Iterable[str]) -> Cells:
        """What has to run so that `names` are there: by cell, the indices of its statements.

        Statements that bind or modify a needed name are needed, and so are the names they read.
        The rest, training above all, is not run.
        """
        return self._by_cell({i for name in names for i in self.slices(name)[0].places})

    def everything(self) -> Cells:
        return self._by_cell(set(range(len(self.statements))))

    def slices(self, name: str) -> list[Slice]:
        """What has to run for an answer. Of two, the first is tried first: the second is for a
        name that turns out to hold no function where it was bound last."""
        bound = [i for i in self._makers.get(name, []) if self._is_bound(name, i)]
        ends = {i: end for i, end in itertools.pairwise([*bound, len(self.statements)])}
        checks = [i for i, s in enumerate(self.statements) if name in s.checks]
        checked: dict[int, int] = {}  # by the place of a binding: that of its last check
        for place in checks:
            before = bisect_left(bound, place)
            if before:
                checked[bound[before - 1]] = place
        known = [i for i in bound if name in self.statements[i].functions]
        likely = [i for i in bound if name not in self.statements[i].results]
        sure = max((i for i in likely if i in known or i in checked), default=None)
        tries = [i for i in likely[-1:] if sure is None or (i > sure and sure not in checked)]
        tries += [sure] if sure is not None else []
        found = []
        for place in tries or bound[-1:]:
            until = checked.get(place)
            if until is None:
                until = self._as_defined(self._slice(name, place), ends[place])
            found.append(self._slice(name, until))
        return found or [self._slice(name, len(self.statements))]

    def cells(self, found: Slice) -> Cells:
        """What a slice runs: by cell, the indices of its statements."""
        return self._by_cell(set(found.places))

    def _slice(self, name: str, until: int) -> Slice:
        always = [
            i for i, s in enumerate(self.statements) if s.anything or (s.future and i <= until)
        ]
        chosen, settled, seen = set(always), set[str](), set[str]()
        todo = [name, *(read for i in always for read in self.statements[i].reads)]
        while todo:
            name_read = todo.pop()
            if name_read in seen:
                continue
            seen.add(name_read)
            places = self._makers.get(name_read, [])
            early = places[: bisect_right(places, until)]
            if hasattr(builtins, name_read) or any(self._is_bound(name_read, i) for i in early):
                settled.add(name_read)
                places = early
            for i in places:
                if i not in chosen:
                    chosen.add(i)
                    todo += self.statements[i].reads
        imports = frozenset(s.text for s in map(self.statements.__getitem__, chosen) if s.imports)
        return Slice(name, until, frozenset(chosen), frozenset(settled), imports)

    def _as_defined(self, first: Slice, end: int) -> int:
        """Up to where all names keep the meaning that they had for this slice."""
        for i in range(first.until + 1, end):
            if self._binds(i) & first.settled and self.statements[i].text not in first.imports:
                return i - 1
        return end - 1

    def _binds(self, place: int) -> frozenset[str]:
        return self.statements[place].binds | self._effects.get(place, frozenset())

    def _is_bound(self, name: str, place: int) -> bool:
        return name in self.statements[place].binds or name in self._effects.get(place, ())

    def _changes(self, place: int) -> frozenset[str]:
        return self.statements[place].changes - self._modules

    @cached_property
    def _modules(self) -> frozenset[str]:
        return frozenset(n for s in self.statements if s.imports for n in s.binds)

    @cached_property
    def _makers(self) -> dict[str, list[int]]:
        """By name: the places of the statements that bind or modify it."""
        makers: dict[str, list[int]] = {}
        for i in range(len(self.statements)):
            for name in self._binds(i) | self._changes(i):
                makers.setdefault(name, []).append(i)
        return makers

    @cached_property
    def _effects(self) -> dict[int, frozenset[str]]:
        """By place: the names that are bound or modified by the functions that it calls."""
        readers: dict[str, set[str]] = {}  # by name: the names whose definitions read it
        owners: dict[str, set[str]] = {}  # by name: the functions that bind or modify it
        for s in self.statements:
            for name in s.reads:
                readers.setdefault(name, set()).update(s.binds)
            for name in s.later - self._modules:
                owners.setdefault(name, set()).update(s.binds)
        callers: dict[str, set[str]] = {}  # by function: the names that a call binds or modifies
        for name in itertools.islice(owners, MAX_EFFECTS):
            todo, seen = list(owners[name]), set[str]()
            while todo:
                function = todo.pop()
                if function not in seen:
                    seen.add(function)
                    callers.setdefault(function, set()).add(name)
                    todo += readers.get(function, ())
        found = {
            i: frozenset(name for call in s.calls for name in callers.get(call, ()))
            for i, s in enumerate(self.statements)
        }
        return {i: names for i, names in found.items() if names}

    def _by_cell(self, chosen: Collection[int]) -> Cells:
        cells: dict[int, list[int]] = {}
        for place in sorted(chosen):
            number, index = self.places[place]
            cells.setdefault(number, []).append(index)
        return [(number, self.sources[number], indices) for number, indices in cells.items()]


def program(cells: Iterable[Cell]) -> Program:
    sources: dict[int, str] = {}
    statements: list[Statement] = []
    places: list[tuple[int, int]] = []
    errors: dict[int, str] = {}
    size = 0
    for cell in cells:
        if not cell.code or not cell.source.strip():
            continue
        try:
            size += len(cell.source)
            if size > MAX_CODE:
                raise ValueError(f"the notebook has more than {MAX_CODE:,} characters of code")
            source, found = _statements(cell.source)
            if len(statements) + len(found) > MAX_STATEMENTS:
                raise ValueError(f"the notebook has more than {MAX_STATEMENTS:,} statements")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            line = getattr(error, "lineno", None)
            where = f", line {line}" if line else ""
            errors[cell.number] = f"{type(error).__name__}{where}: {getattr(error, 'msg', error)}"
            continue
        sources[cell.number] = source
        statements += found
        places += [(cell.number, index) for index in range(len(found))]
    return Program(sources, tuple(statements), tuple(places), errors)


@lru_cache(maxsize=512)  # most cells are the chapter's own, the same in all submissions
def _statements(source: str) -> tuple[str, tuple[Statement, ...]]:
    """A cell without its magics, and its top-level statements."""
    with warnings.catch_warnings():  # an invalid escape in a student's string is no news for us
        warnings.simplefilter("ignore")
        try:
            body = ast.parse(source).body
        except SyntaxError:
            source = plain(source)
            body = ast.parse(source).body
    return source, tuple(statement(node) for node in body)


def prose(cells: Iterable[Cell], id: str) -> str | None:
    """What stands below "Your answer to `ID`" in its markdown cell. None if there is no such cell.

    The stub's placeholder, a line in italics alone, is no answer.
    """
    marker = re.compile(rf"your answer to `?{re.escape(id)}(?![\w.-])", re.IGNORECASE)
    answers = []
    for cell in cells:
        lines = cell.source.split("\n")
        for i, line in enumerate(lines):
            if not cell.code and marker.search(line):
                below = "\n".join(lines[i + 1 :]).strip()
                answers.append("" if re.fullmatch(r"\*[^*\n]*\*|_[^_\n]*_", below) else below)
                break
    return "\n\n".join(a for a in answers if a) if answers else None
