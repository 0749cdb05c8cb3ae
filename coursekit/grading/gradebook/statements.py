"""What a top-level statement of a notebook has to do with global names, found by reading it."""

import ast
import symtable
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True, eq=False)
class Statement:
    """The global names that a top-level statement has to do with, wherever it stands."""

    text: str
    """The statement without comments, in one fixed style."""
    binds: frozenset[str]
    changes: frozenset[str]
    """Names whose object it modifies: `x.y = 1`, `x[0] = 1`, `x.append(1)`, `@x.register`."""
    reads: frozenset[str]
    calls: frozenset[str]
    """Names that it calls while it runs; what its functions call later is not among them."""
    later: frozenset[str]
    """Names that the functions defined here bind or modify when they are called."""
    functions: frozenset[str]
    """Names that certainly hold a function or class afterwards."""
    results: frozenset[str]
    """Names that certainly hold something else afterwards: a number, a list, `f(x)`."""
    checks: frozenset[str]
    """Names that it hands to `check`."""
    imports: bool
    future: bool
    """`from __future__ import ...`: it changes how all later statements are read."""
    anything: bool
    """A star import: it may bind any name."""


def statement(node: ast.stmt) -> Statement:
    """Reads one statement. May raise what `compile` raises for code that cannot be compiled."""
    text = ast.unparse(node)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = symtable.symtable(text, "cell", "exec")
    binds = {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported()}
    reads = {s.get_name() for s in table.get_symbols() if s.is_referenced()}
    inner: set[str] = set()
    later: set[str] = set()
    for scope in _scopes(table):
        for symbol in scope.get_symbols():
            if symbol.is_global() and symbol.is_referenced():
                inner.add(symbol.get_name())
            if symbol.is_declared_global() and symbol.is_assigned():
                later.add(symbol.get_name())
    for function in _functions(node):
        later |= inner & {name for part in _body(function) for name in _changed(part)}
    kinds = dict(_made(node))
    star = isinstance(node, ast.ImportFrom) and any(a.name == "*" for a in node.names)
    return Statement(
        text,
        binds=frozenset(binds),
        changes=frozenset(_changed(node)),
        reads=frozenset(reads | inner | later | set(_augmented(node))),
        calls=frozenset(_called(node)),
        later=frozenset(later),
        functions=frozenset(name for name, known in kinds.items() if known),
        results=frozenset(name for name, known in kinds.items() if known is False),
        checks=frozenset(_checked(node)),
        imports=isinstance(node, ast.Import | ast.ImportFrom),
        future=isinstance(node, ast.ImportFrom) and node.module == "__future__",
        anything=star,
    )


def spells(node: ast.AST, name: str) -> bool:
    """Whether code may make a name by spelling it: `globals()["f"] = g`, `exec("def f ...")`."""
    return any(
        (isinstance(part, ast.Constant) and isinstance(part.value, str) and name in part.value)
        or (isinstance(part, ast.keyword) and part.arg == name)
        for part in ast.walk(node)
    )


def _scopes(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    for child in table.get_children():
        yield child
        yield from _scopes(child)


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of a statement that run with it: not the bodies of the functions it defines."""
    yield node
    if isinstance(node, ast.Lambda):
        yield from _running(node.args)
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        for part in (*node.decorator_list, node.args):
            yield from _running(part)
    else:
        for child in ast.iter_child_nodes(node):
            yield from _running(child)


def _functions(node: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda]:
    for part in ast.walk(node):
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield part


def _body(
    function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda,
) -> list[ast.stmt] | list[ast.expr]:
    return [function.body] if isinstance(function, ast.Lambda) else function.body


def _changed(node: ast.AST) -> Iterator[str]:
    """Names at the root of what a statement modifies. Functions modify nothing until called."""
    for part in _running(node):
        if isinstance(part, ast.Attribute | ast.Subscript) and isinstance(part.ctx, ast.Store):
            yield from _root(part)
        called: list[ast.expr] = getattr(part, "decorator_list", [])
        if isinstance(part, ast.Expr) and isinstance(part.value, ast.Call):
            called = [part.value]
        for call in called:
            method = call.func if isinstance(call, ast.Call) else call
            if isinstance(method, ast.Attribute):
                yield from _root(method)


def _root(node: ast.expr) -> Iterator[str]:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    if isinstance(node, ast.Name):
        yield node.id


def _augmented(node: ast.AST) -> Iterator[str]:
    """`x += 1` reads x, which symtable does not say."""
    for part in _running(node):
        if isinstance(part, ast.AugAssign):
            yield from _root(part.target)


def _called(node: ast.AST) -> Iterator[str]:
    for part in _running(node):
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Name):
            yield part.func.id
        for decorator in getattr(part, "decorator_list", []):
            if isinstance(decorator, ast.Name):
                yield decorator.id


def _checked(node: ast.AST) -> Iterator[str]:
    for part in _running(node):
        if isinstance(part, ast.Call) and _last_name(part.func) == "check":
            values = [*part.args, *(keyword.value for keyword in part.keywords)]
            for value in values:
                yield from (name.id for name in ast.walk(value) if isinstance(name, ast.Name))


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _made(node: ast.AST) -> Iterator[tuple[str, bool | None]]:
    """The names that a statement binds, and whether to a function or class. None: reading it does
    not show that."""
    for part in _running(node):
        match part:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield part.name, True
            case ast.Import() | ast.ImportFrom():
                yield from ((alias.asname or alias.name, True) for alias in part.names)
            case ast.Assign():
                for target in part.targets:
                    yield from ((name, _callable(part.value, name)) for name in _stored(target))
            case ast.AnnAssign() | ast.NamedExpr() if part.value is not None:
                name = getattr(part.target, "id", "")
                yield name, _callable(part.value, name)
            case ast.AugAssign() | ast.For() | ast.AsyncFor():
                yield from ((name, False) for name in _stored(part.target))


def _stored(target: ast.expr) -> Iterator[str]:
    for part in ast.walk(target):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            yield part.id


PLAIN_VALUES = (ast.Constant, ast.BinOp, ast.Compare, ast.List, ast.Dict, ast.Set, ast.ListComp,
                ast.DictComp, ast.SetComp, ast.GeneratorExp, ast.JoinedStr)  # fmt: skip


def _callable(value: ast.expr, name: str) -> bool | None:
    """Whether `name = value` makes it a function, as far as reading shows it."""
    if isinstance(value, ast.Lambda):
        return True
    if isinstance(value, PLAIN_VALUES) or name in _called(value):  # f = f(x) is a result of f
        return False
    return None
