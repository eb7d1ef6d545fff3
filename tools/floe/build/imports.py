# SPDX-License-Identifier: MIT
"""What one Python source asks for, read from its syntax tree: imports, and features that need the compiler.

Nothing is run. An import is *required* where running the module must reach it, *optional* where a miss is
handled or may never happen: guarded by `except ImportError`, in a function, in a branch of an `if`.
"""

from __future__ import annotations

import ast
import enum
from collections.abc import Sequence
from dataclasses import dataclass, field

_CAUGHT = {"ImportError", "Exception", "BaseException", "ModuleNotFoundError"}
_COMPILER = {"eval", "exec", "compile"}
_NATIVE = {"native", "viper"}


class Need(enum.IntEnum):
    """How sure it is that the import happens and that a miss is fatal."""

    GUARDED = 0  # a miss is handled by the script
    MAYBE = 1  # in a function or a branch: a miss is an ImportError only when it gets there
    REQUIRED = 2


@dataclass(frozen=True)
class Import:
    """`import name` or, with `names`, `from name import names`; level counts the leading dots."""

    name: str
    level: int
    names: tuple[str, ...]
    line: int
    need: Need
    attempt: int = 0  # number of the guarded `try` whose body this stands in; 0: none
    instead_of: int = 0  # number of the guarded `try` whose handler this stands in; 0: none
    certain: bool = False  # stands in that body itself, not in a branch or a function: a miss there ends the body


@dataclass
class Source:
    """What a module asks for."""

    imports: list[Import] = field(default_factory=list)
    computed: list[int] = field(default_factory=list)  # lines of __import__(something not constant)
    compiler: list[str] = field(default_factory=list)  # "eval", ...: builtins that need the compiler
    native: bool = False  # @micropython.native or viper
    # ("asyncio", "sleep"), x.y by x's last name: the guarded bodies it stands in, 0 for the rest of the module
    attributes: dict[tuple[str, str], set[int]] = field(default_factory=dict)
    bare: set[str] = field(default_factory=set)  # names used otherwise than as x.y: a module may be handed on by them
    members: set[str] = field(default_factory=set)  # as bare, but y of x.y alone, where x is nothing that was imported
    loose: set[str] = field(default_factory=set)  # last names not only called with 2 or 3 plain arguments; see _loose()
    lazy: dict[str, str] = field(default_factory=dict)  # attribute -> submodule, of a package with __getattr__


def scan(text: str, filename: str) -> Source:
    """Read one source. Raises SyntaxError as `ast.parse` does."""
    tree = ast.parse(text, filename)
    nodes = list(ast.walk(tree))  # once: a walk is what takes time here
    visitor = _Visitor(_bound(nodes), _imported(nodes))
    visitor.visit(tree)
    source = visitor.source
    source.lazy = _lazy_attributes(tree)
    source.loose = _loose(nodes)
    source.compiler = sorted(set(source.compiler))
    return source


def _bound(nodes: list[ast.AST]) -> set[str]:
    """Names the module gives a meaning of its own, anywhere."""
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names.update(alias.asname or alias.name for alias in node.names)
    return names


def _imported(nodes: list[ast.AST]) -> set[str]:
    """Names that an import binds, anywhere."""
    imports = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    return {alias.asname or alias.name.partition(".")[0] for node in imports for alias in node.names}


def _lazy_attributes(tree: ast.Module) -> dict[str, str]:
    """The table of upstream's lazy packages: `_attrs = {"name": "submodule"}` beside `def __getattr__`."""
    if not any(isinstance(node, ast.FunctionDef) and node.name == "__getattr__" for node in tree.body):
        return {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "_attrs" for t in node.targets):
            try:
                table = ast.literal_eval(node.value)
            except ValueError:
                return {}
            if isinstance(table, dict):
                return {str(key): str(value) for key, value in table.items()}
    return {}


def _loose(nodes: list[ast.AST]) -> set[str]:
    """Last names that are not just called with two or three arguments by position; imports under another name too.
    With them "dumps(indent)" for a call with that keyword, or what hands it on: partial(dumps, indent=2); and ".x" for
    an attribute of anything, ".x()" for one that is called without arguments."""
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    plain = {
        id(call.func)
        for call in calls
        if len(call.args) in (2, 3) and not call.keywords and not any(isinstance(a, ast.Starred) for a in call.args)
    }
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Name | ast.Attribute) and id(node) not in plain:
            names.add(_last(node))
        elif isinstance(node, ast.ImportFrom):
            names.update(alias.name for alias in node.names if alias.asname not in (None, alias.name))
        if isinstance(node, ast.Attribute):
            names.add(f".{node.attr}")
    bare = (call for call in calls if not call.args and not call.keywords)
    names |= {f".{call.func.attr}()" for call in bare if isinstance(call.func, ast.Attribute)}
    return names | _keywords(nodes, calls)


def _keywords(nodes: list[ast.AST], calls: list[ast.Call]) -> set[str]:
    also: dict[str, str] = {}  # from json import dumps as text; text = json.dumps
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            also.update({alias.asname: alias.name for alias in node.names if alias.asname})
        elif isinstance(node, ast.Assign) and (name := _last(node.value)):
            also.update({target.id: name for target in node.targets if isinstance(target, ast.Name)})
    found = set()
    for call in calls:
        names = {also.get(name, name) for name in map(_last, (call.func, *call.args)) if name}
        found |= {f"{name}({keyword.arg or '**'})" for keyword in call.keywords for name in names}
    return found


def _last(node: ast.expr) -> str:
    """x of x, and of y.x; "" of all else."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _catches_import_error(handlers: list[ast.ExceptHandler]) -> bool:
    for handler in handlers:
        caught = handler.type
        types = caught.elts if isinstance(caught, ast.Tuple) else [caught]
        if any(t is None or (isinstance(t, ast.Name) and t.id in _CAUGHT) for t in types):
            return True
    return False


class _Visitor(ast.NodeVisitor):
    def __init__(self, bound: set[str], imported: set[str]) -> None:
        self.source = Source()
        self.bound = bound
        self.imported = imported
        self.no_module: set[int] = set()  # id() of what is called or indexed: x.json() and x.json["a"] are no module
        self.need = Need.REQUIRED
        self.attempt = 0
        self.instead_of = 0
        self.guarded_tries = 0
        self.direct: set[int] = set()  # statements of guarded bodies, by their id()
        self.alias: dict[str, str] = {}  # import asyncio as aio: aio -> asyncio

    def _within(self, need: Need, nodes: Sequence[ast.AST]) -> None:
        saved, self.need = self.need, min(self.need, need)
        for node in nodes:
            self.visit(node)
        self.need = saved

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if alias.asname:
                self.alias[alias.asname] = alias.name.rpartition(".")[2]
            self._import(alias.name, 0, (), node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        names = tuple(alias.name for alias in node.names)
        self._import(node.module or "", node.level, names, node)

    def _import(self, name: str, level: int, names: tuple[str, ...], node: ast.stmt | ast.expr) -> None:
        where = (node.lineno, self.need, self.attempt, self.instead_of, id(node) in self.direct)
        self.source.imports.append(Import(name, level, names, *where))

    def visit_Try(self, node: ast.Try) -> None:
        if not _catches_import_error(node.handlers):
            self.generic_visit(node)
            return
        self.guarded_tries += 1
        number = self.guarded_tries
        self.direct.update(map(id, node.body))
        saved, self.attempt = self.attempt, number
        self._within(Need.GUARDED, node.body)
        self.attempt = saved
        saved, self.instead_of = self.instead_of, number
        self._within(self.need, node.handlers)
        self.instead_of = saved
        self._within(self.need, node.orelse + node.finalbody)

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        test = ast.unparse(node.test)
        if test in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            self._within(self.need, node.orelse)
            return
        need = self.need if test.startswith("__name__ == ") else Need.MAYBE
        self._within(need, node.body)
        self._within(need, node.orelse)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for decorator in node.decorator_list:
            name = decorator.attr if isinstance(decorator, ast.Attribute) else getattr(decorator, "id", "")
            self.source.native |= name in _NATIVE
            self.visit(decorator)
        self.visit(node.args)
        self._within(Need.MAYBE, node.body)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._function(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id == "__import__" and node.args:
            name = node.args[0]
            if isinstance(name, ast.Constant) and isinstance(name.value, str) and len(node.args) < 5:
                self._import(name.value, 0, (), node)
            else:
                self.source.computed.append(node.lineno)
        self.no_module.add(id(node.func))
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self.no_module.add(id(node.value))
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        base = node.value
        if isinstance(base, ast.Name | ast.Attribute):
            name = base.id if isinstance(base, ast.Name) else base.attr
            self.source.attributes.setdefault((self.alias.get(name, name), node.attr), set()).add(self.attempt)
        if isinstance(base, ast.Attribute):
            self._base(base)
        elif not isinstance(base, ast.Name):
            self.visit(base)
        if id(node) in self.no_module or not isinstance(node.ctx, ast.Load):
            return
        if not (isinstance(base, ast.Name) and base.id == node.attr):  # time.time names nothing but that
            (self.source.bare if self._is_imported(base) else self.source.members).add(node.attr)

    def _is_imported(self, node: ast.expr) -> bool:
        while isinstance(node, ast.Attribute):
            node = node.value
        return isinstance(node, ast.Name) and node.id in self.imported

    def _base(self, node: ast.Attribute) -> None:
        """x.y in x.y.z: y is not used bare."""
        self.no_module.add(id(node))
        self.visit_Attribute(node)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self.source.bare.add(self.alias.get(node.id, node.id))
            if node.id in _COMPILER and node.id not in self.bound:
                self.source.compiler.append(node.id)
