"""Reads a notebook that someone handed in: as data, never by running it here."""

import ast
import json
import re
import symtable
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

MAX_BYTES = 20 * 2**20
MAX_CODE, MAX_STATEMENTS = 2**19, 20_000
"""Characters and top-level statements of a notebook that are read. What is beyond is no answer,
and reading it here could take hours."""


class Unreadable(Exception):
    """This is not a notebook that can be graded; the message says why."""


@dataclass(frozen=True)
class Cell:
    number: int
    """Position in the notebook, from 1, markdown cells counted too."""
    code: bool
    source: str


@dataclass(frozen=True)
class Statement:
    """One top-level statement and the global names that it has to do with."""

    cell: int
    index: int
    binds: frozenset[str]
    changes: frozenset[str]
    """Names whose object it modifies: `x.y = 1`, `x[0] = 1`, `x.append(1)`."""
    reads: frozenset[str]
    imports: bool
    anything: bool
    """A star import: it may bind any name."""


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
        raise Unreadable(f"this is not a notebook (no valid JSON: {str(error)[:200]})") from error
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
    lines = re.sub(r"^\s*%%.*", "", source, count=1).split("\n")
    return "\n".join(_plain(line) for line in lines)


def _plain(line: str) -> str:
    if match := re.match(r"(\s*)(%|!|\?)", line):
        return f"{match[1]}pass"
    if match := re.match(r"([\w, \t]+=[ \t]*)[%!]", line):
        return f"{match[1]}None"
    if re.match(r"\s*[\w.]+\?{1,2}\s*$", line):
        return "pass"
    return line


@dataclass(frozen=True)
class Program:
    """The code of a notebook: what can be compiled, and what cannot."""

    sources: dict[int, str]
    """By cell: its source, magics gone."""
    statements: tuple[Statement, ...]
    errors: dict[int, str]
    """By cell: why it cannot be compiled."""

    def defines(self, name: str) -> bool:
        return any(name in s.binds or s.anything for s in self.statements)

    def needed(self, names: Iterable[str]) -> list[tuple[int, str, list[int]]]:
        """What has to run so that `names` are there: by cell, the indices of its statements.

        Statements that bind or modify a needed name are needed, and so are the names they read.
        The rest, training above all, is not run.
        """
        modules = {n for s in self.statements if s.imports for n in s.binds}
        makers: dict[str, list[Statement]] = {}
        for s in self.statements:
            for name in s.binds | (s.changes - modules):
                makers.setdefault(name, []).append(s)
        chosen = {s for s in self.statements if s.anything}
        todo = [*names, *(name for s in chosen for name in s.reads)]
        while todo:
            for s in makers.pop(todo.pop(), ()):
                if s not in chosen:
                    chosen.add(s)
                    todo += s.reads
        return self._by_cell(chosen)

    def everything(self) -> list[tuple[int, str, list[int]]]:
        return self._by_cell(set(self.statements))

    def _by_cell(self, chosen: set[Statement]) -> list[tuple[int, str, list[int]]]:
        cells: dict[int, list[int]] = {}
        for statement in self.statements:
            if statement in chosen:
                cells.setdefault(statement.cell, []).append(statement.index)
        return [(number, self.sources[number], indices) for number, indices in cells.items()]


def program(cells: Iterable[Cell]) -> Program:
    sources: dict[int, str] = {}
    statements: list[Statement] = []
    errors: dict[int, str] = {}
    size = 0
    for cell in cells:
        if not cell.code or not cell.source.strip():
            continue
        try:
            size += len(cell.source)
            if size > MAX_CODE:
                raise ValueError(f"the notebook has more than {MAX_CODE:,} characters of code")
            source, body = _parse(cell.source)
            if len(statements) + len(body) > MAX_STATEMENTS:
                raise ValueError(f"the notebook has more than {MAX_STATEMENTS:,} statements")
            statements += [_statement(cell.number, i, node) for i, node in enumerate(body)]
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            line = getattr(error, "lineno", None)
            where = f", line {line}" if line else ""
            errors[cell.number] = f"{type(error).__name__}{where}: {getattr(error, 'msg', error)}"
            continue
        sources[cell.number] = source
    return Program(sources, tuple(statements), errors)


def _parse(source: str) -> tuple[str, list[ast.stmt]]:
    with warnings.catch_warnings():  # an invalid escape in a student's string is no news for us
        warnings.simplefilter("ignore")
        try:
            return source, ast.parse(source).body
        except SyntaxError:
            source = plain(source)
            return source, ast.parse(source).body


def _statement(cell: int, index: int, node: ast.stmt) -> Statement:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = symtable.symtable(ast.unparse(node), "cell", "exec")
    binds = {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported()}
    reads = {s.get_name() for s in table.get_symbols() if s.is_referenced()}
    for scope in _scopes(table):
        for symbol in scope.get_symbols():
            if symbol.is_global() and symbol.is_referenced():
                reads.add(symbol.get_name())
            if symbol.is_declared_global() and symbol.is_assigned():
                binds.add(symbol.get_name())
    star = isinstance(node, ast.ImportFrom) and any(a.name == "*" for a in node.names)
    return Statement(
        cell,
        index,
        frozenset(binds),
        frozenset(_changed(node)),
        frozenset(reads),
        isinstance(node, ast.Import | ast.ImportFrom),
        star,
    )


def _scopes(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    for child in table.get_children():
        yield child
        yield from _scopes(child)


def _changed(node: ast.AST) -> Iterator[str]:
    """Names at the root of what a statement modifies. Functions modify nothing until called."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
        return
    if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
        yield from _root(node)
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield from _root(node.value.func) if isinstance(node.value.func, ast.Attribute) else ()
    for child in ast.iter_child_nodes(node):
        yield from _changed(child)


def _root(node: ast.expr) -> Iterator[str]:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    if isinstance(node, ast.Name):
        yield node.id


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
