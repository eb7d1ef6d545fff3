# SPDX-License-Identifier: MIT
"""What CPython's grammar has and MicroPython's does not, by name: mpy-cross itself says only "invalid syntax"."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

_Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


@dataclass(frozen=True)
class Missing:
    """what: as in "MicroPython has no ..."; first and last line of the code that needs it."""

    what: str
    instead: str
    first: int
    last: int


MATCH = ("match statement", "if, elif and else")
POSITIONAL_ONLY = ("positional-only parameters", "leave the / out")
ASYNC_COMPREHENSION = ("asynchronous comprehensions", "async for, and append")
AWAIT_COMPREHENSION = ("await in a comprehension", "a loop, and append")
EXCEPT_STAR = ("except*", "except")
DICT_UNPACKING = ("** in a dict display", "copy() and update()")
UNPACKING = ("* in a list, tuple, set or index", "list(a) + [b]")
WITH_PARENTHESES = ("parentheses around the items of a with statement", "one with statement in another")
DECORATOR = ("decorators but names and calls of them", "give the decorator a name first")
WALRUS_INDEX = (":= in an index", "assign in a line before")


def find(text: str, line: int) -> Missing | None:
    """The feature that mpy-cross stumbled over in this line; the one with the least code, if there are several."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return None
    lines = text.splitlines()
    here = [m for node in ast.walk(tree) for m in _of(node, lines) if m.first <= line <= m.last]
    return min(here, key=lambda m: (m.last - m.first, m.first), default=None)


def _of(node: ast.AST, lines: list[str]) -> Iterator[Missing]:
    for what, instead in _features(node, lines):
        first: int = getattr(node, "lineno", 0)
        last: int = getattr(node, "end_lineno", first)
        if isinstance(node, ast.With | ast.FunctionDef | ast.AsyncFunctionDef):
            last = max(node.body[0].lineno - 1, first)  # what follows the colon has features of its own
            first = min([first, *(d.lineno for d in getattr(node, "decorator_list", ()))])
        yield Missing(what, instead, first, last)


def _features(node: ast.AST, lines: list[str]) -> Iterator[tuple[str, str]]:
    match node:
        case ast.Match():
            yield MATCH
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda() if node.args.posonlyargs:
            yield POSITIONAL_ONLY
        case ast.TryStar():
            yield EXCEPT_STAR
        case ast.Dict() if None in node.keys:
            yield DICT_UNPACKING
        case ast.List() | ast.Tuple() | ast.Set():
            stored = isinstance(getattr(node, "ctx", None), ast.Store)
            if not stored and any(isinstance(item, ast.Starred) for item in node.elts):
                yield UNPACKING
        case ast.Subscript() if any(isinstance(n, ast.NamedExpr) for n in ast.walk(node.slice)):
            yield WALRUS_INDEX
        case ast.With() if re.match(r"\s*with\s*\(", lines[node.lineno - 1]):
            if len(node.items) > 1 or node.items[0].optional_vars:
                yield WITH_PARENTHESES
    if isinstance(node, _Comprehension):
        yield from _asynchronous(node)
    if any(not _is_name(decorator) for decorator in getattr(node, "decorator_list", ())):
        yield DECORATOR


def _asynchronous(node: _Comprehension) -> Iterator[tuple[str, str]]:
    if any(generator.is_async for generator in node.generators):
        yield ASYNC_COMPREHENSION
    elif any(isinstance(inner, ast.Await) for inner in ast.walk(node)):
        yield AWAIT_COMPREHENSION


def _is_name(decorator: ast.expr) -> bool:
    """a, a.b.c, or a call of one: the grammar of decorators before Python 3.9."""
    inner = decorator.func if isinstance(decorator, ast.Call) else decorator
    while isinstance(inner, ast.Attribute):
        inner = inner.value
    return isinstance(inner, ast.Name)
