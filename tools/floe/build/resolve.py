# SPDX-License-Identifier: MIT
"""From a script to everything it imports: the Python files to freeze and the C modules to keep.

Names are looked up as MicroPython does at run time: fixed C modules first, then frozen Python (the
script's own, packages, frozen/lib, the base manifest), then extensible C modules, also as "u" + name.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from floe.build.imports import Import, Need, Source, scan
from floe.build.instead import ENOUGH, INSTEAD, ON_REQUEST, PLAIN, SURE
from floe.build.port_archive import CModule
from floe.errors import BuildError
from floe.userfile import read_file

# asyncio has `import ssl` for callers of open_connection(ssl=True): TLS is in an image whose own script imports it.
ONLY_WITH_APP = {"ssl"}


@dataclass(frozen=True)
class Frozen:
    """One Python file of an image. target: its name inside, "asyncio/core.py"."""

    target: str
    path: Path
    origin: str  # "app", "base", "microdot 2.7.0", "floe", "micropython"
    optimise: int = 0


@dataclass(frozen=True)
class Root:
    """A place where Python modules are looked for: target name -> file. fuller: lazy packages that stand in for the
    ones of their names in `files` where somebody names what only they have. unread: folders of which nobody has asked
    for a file yet, by name."""

    label: str
    origin: str
    files: dict[str, Frozen]
    fuller: Mapping[str, Frozen] = field(default_factory=dict)
    unread: dict[str, Path] = field(default_factory=dict)

    @classmethod
    def of_folder(cls, folder: Path, label: str, origin: str) -> Root:
        """Every .py file below a folder, hidden and cache folders left out."""
        root = cls.beside_script(folder, label, origin)
        for name in list(root.unread):
            root._read(name)
        return root

    @classmethod
    def beside_script(cls, folder: Path, label: str, origin: str) -> Root:
        """As of_folder(), but what lies in the folder's own folders is read once a module of such a name is looked for:
        a script may lie in a home folder."""
        files: dict[str, Frozen] = {}
        unread: dict[str, Path] = {}
        for _, folders, names in os.walk(folder):
            unread = {name: folder / name for name in sorted(folders) if _may_be_package(name)}
            files = {name: Frozen(name, folder / name, origin) for name in sorted(names) if name.endswith(".py")}
            break
        return cls(label, origin, files, unread=unread)

    def _read(self, top: str) -> None:
        """Have the files of one of the folder's own folders."""
        folder = self.unread.pop(top, None)
        if folder is None or folder.is_symlink():
            return
        for where, folders, names in os.walk(folder):
            folders[:] = sorted(name for name in folders if _may_be_package(name))
            for name in sorted(n for n in names if n.endswith(".py")):
                path = Path(where) / name
                target = path.relative_to(folder.parent).as_posix()
                self.files[target] = Frozen(target, path, self.origin)

    def find(self, parts: tuple[str, ...]) -> tuple[Frozen | None, bool]:
        """The file of a module and whether the name exists here at all (a folder without __init__.py has no file)."""
        self._read(parts[0])
        base = "/".join(parts)
        for target in (f"{base}/__init__.py", f"{base}.py"):
            if target in self.files:
                return self.files[target], True
        return None, any(target.startswith(base + "/") for target in self.files)


def _may_be_package(name: str) -> bool:
    return not name.startswith(".") and name.isidentifier() and name != "__pycache__"


@dataclass
class Closure:
    """Everything an image holds of Python and C modules."""

    frozen: dict[str, Frozen] = field(default_factory=dict)
    modules: set[str] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)
    compiler: list[str] = field(default_factory=list)  # "main.py: eval"
    native: list[str] = field(default_factory=list)


class Resolver:
    """Walks imports from given files. One use: add files, then read `closure`."""

    def __init__(self, roots: list[Root], c_modules: Mapping[str, CModule], *, at_run_time: bool = False) -> None:
        """at_run_time: what a script imports may come from a disk of its VM; a missing module is a warning."""
        self._at_run_time = at_run_time
        self.roots = roots
        self.c_modules = c_modules
        self.closure = Closure()
        self.sources: dict[str, Source] = {}
        self._queue: deque[Frozen] = deque()
        self._where: dict[str, Root] = {}
        self._extensions: dict[str, Source] = {}
        self._by_name: dict[str, set[str]] = {}  # attributes that f(os) alone does not bring
        self._fuller = {root.files[target].path: file for root in roots for target, file in root.fuller.items()}

    def add(self, file: Frozen) -> None:
        """Freeze a file and all it imports. Raises BuildError at the first import that cannot be."""
        self._take(file)
        self._drain()

    def require(self, names: Iterable[str], shown: str, line: int | None) -> None:
        """Modules that the script imports by computed names: listed in image.toml, `shown`."""
        for name in names:
            if not self._import_dotted(tuple(name.split("."))):
                raise self._missing(Import(name, 0, (), line or 0, Need.REQUIRED), name, shown)
        self._drain()

    def add_all(self, root: Root) -> None:
        """Everything of a root that no other hides: what may be imported at a REPL."""
        for target, file in sorted(root.files.items()):
            top = target.partition("/")[0].removesuffix(".py")
            if target not in ON_REQUEST and (self._where.get(top) or self._locate(top)) is root:
                self._where[top] = root
                self._take(root.fuller.get(target, file))
        self._drain()

    def _drain(self) -> None:
        while self._queue:
            self._walk(self._queue.popleft())
            if not self._queue:
                self._fuller_packages()
                self._lazy_packages()

    def _take(self, file: Frozen) -> None:
        known = self.closure.frozen.get(file.target)
        if known is not None and known is self._fuller.get(file.path):
            return
        if known is None or file is self._fuller.get(known.path):
            self.closure.frozen[file.target] = file
            self._queue.append(file)
        elif known.path != file.path:
            raise BuildError(
                f"two files want the name {file.target}",
                evidence=f"{show(known.path)} ({known.origin})\n{show(file.path)} ({file.origin})",
                hint="rename one of them",
            )

    def _walk(self, file: Frozen) -> None:
        try:
            source = scan(read_file(file.path).decode("utf-8-sig"), file.target)
        except UnicodeDecodeError as e:
            raise BuildError(f"{show(file.path)}: not UTF-8: {e.reason} at byte {e.start}") from e
        except (SyntaxError, ValueError) as e:
            raise _syntax_error(file, e) from e
        except (RecursionError, MemoryError):
            raise BuildError(f"{show(file.path)}: nested too deeply") from None
        self.sources[file.target] = source
        self.closure.compiler += [f"{file.target}: {name}" for name in source.compiler]
        self.closure.native += [file.target] if source.native else []
        if file.origin == "app":
            for number in source.computed:
                place = f"{show(file.path)}:{number}"
                self._warn(f"{place}: the imported name is computed: list what it can be as `imports` in image.toml")
        failed: set[int] = set()
        ended: set[int] = set()  # guarded bodies that get no further
        sure = _sure(source)
        for wanted in source.imports:
            if file.origin == "micropython" and wanted.name in ONLY_WITH_APP:
                continue
            if wanted.attempt in ended or wanted.instead_of in sure:
                continue
            missing = self._import(wanted, file)
            if missing is None:
                continue
            failed.add(wanted.attempt)
            if wanted.certain:
                ended.add(wanted.attempt)
            self._miss(wanted, missing, file, failed)
        source.attributes = {named: bodies for named, bodies in source.attributes.items() if not bodies <= ended}

    def _miss(self, wanted: Import, missing: str, file: Frozen, failed: set[int]) -> None:
        if wanted.need is Need.GUARDED or (wanted.instead_of and wanted.instead_of not in failed):
            return
        error = self._missing(wanted, missing, show(file.path))
        if wanted.need is Need.REQUIRED and self._at_run_time and file.origin == "app" and wanted.level == 0:
            self._warn(f"{error.message}; the VM looks for it at /")
            return
        if wanted.need is Need.REQUIRED:
            raise error
        if file.origin == "app":
            self._warn(f"{error.message}; it fails if the script gets there")

    def _import(self, wanted: Import, file: Frozen) -> str | None:
        """Bring in what one import names. None, or the dotted name that does not exist."""
        base = self._base(wanted, file)
        if base is None:
            return "." * wanted.level + wanted.name
        if not self._import_dotted(base):
            return ".".join(base)
        for name in wanted.names:
            self._import_dotted((*base, name))  # a submodule, or an attribute of the module
        return None

    def _base(self, wanted: Import, file: Frozen) -> tuple[str, ...] | None:
        """The absolute name of an import; None for a relative one that leaves its package."""
        parts = tuple(wanted.name.split(".")) if wanted.name else ()
        if wanted.level == 0:
            return parts
        package = tuple(file.target.removesuffix(".py").split("/"))[:-1]
        if wanted.level > len(package):
            return None
        return package[: len(package) - (wanted.level - 1)] + parts

    def _import_dotted(self, parts: tuple[str, ...]) -> bool:
        """a.b.c: a, then a.b, then a.b.c, each from where its parent came. False: no such module."""
        top = parts[0]
        root = self._where.get(top) or self._locate(top)
        if root is not None and self._is_extension(root, parts):
            return len(parts) == 1
        if root is None:
            if len(parts) > 1 or (module := self._c_module(top)) is None:
                return False
            self.closure.modules.add(module.name)
            return True
        self._where[top] = root
        for depth in range(1, len(parts) + 1):
            found, exists = root.find(parts[:depth])
            if not exists:
                return False
            if found is not None:
                self._take(found)
        return True

    def _is_extension(self, root: Root, parts: tuple[str, ...]) -> bool:
        """A lazy package of ours over a C module of the same name: until somebody names what only it has, the C module
        is all. parts: of an import; one of a file in the package is no such thing."""
        top = parts[0]
        file = root.files.get(f"{top}/__init__.py")
        module = self.c_modules.get(top)
        if file is None or file.origin != "floe" or module is None or (len(parts) > 1 and root.find(parts)[1]):
            return False
        if top not in self._extensions:
            fuller = self._fuller.get(file.path, file)
            self._extensions[top] = scan(read_file(fuller.path).decode(), file.target)
            self._by_name[top] = self._only_in(fuller, file)
            self.closure.modules.add(module.name)
            self._where[top] = root
        return True

    def _locate(self, top: str) -> Root | None:
        """The root that has a top-level name; None if it is a C module or does not exist."""
        fixed = top in self.c_modules and not self.c_modules[top].extensible
        holders = [root for root in self.roots if root.find((top,))[1]]
        if fixed:
            if holders and holders[0].origin == "app" and holders[0].find((top,))[0]:
                self._warn(f"{top}.py beside the script is never imported: the built-in module {top} comes first")
            return None
        # A folder without Python of its own name (data, say) is no reason to hide a module of that name.
        with_file = [root for root in holders if root.find((top,))[0]]
        if with_file:
            others = [r.label for r in with_file[1:] if r.origin != "base"]
            others += ["a built-in module"] if top in self.c_modules else []
            if with_file[0].origin == "app" and others:
                self._warn(f"{top}.py beside the script takes the place of the module {top} ({others[0]})")
            return with_file[0]
        return holders[0] if holders and self._c_module(top) is None else None

    def _c_module(self, name: str) -> CModule | None:
        if name in self.c_modules:
            return self.c_modules[name]
        if name == "usys":
            return self.c_modules["sys"]  # the one module that has both names and cannot be replaced
        plain = self.c_modules.get(name.removeprefix("u")) if name.startswith("u") else None
        return plain if plain is not None and plain.extensible else None

    def _warn(self, text: str) -> None:
        if text not in self.closure.warnings:
            self.closure.warnings.append(text)

    def _fuller_packages(self) -> None:
        """Packages of upstream's of which somebody names what only ours has: ours takes the place."""
        for target, plain in list(self.closure.frozen.items()):
            if (fuller := self._fuller.get(plain.path)) is None:
                continue
            name = target.removesuffix("/__init__.py")
            more = self._only_in(fuller, plain)
            if any(self._uses(source, name, attribute) for source in self.sources.values() for attribute in more):
                self._take(fuller)

    def _only_in(self, fuller: Frozen, plain: Frozen) -> set[str]:
        return set.difference(*(set(scan(read_file(f.path).decode(), f.target).lazy) for f in (fuller, plain)))

    def _lazy_packages(self) -> None:
        """Submodules of lazy packages (asyncio): the ones whose attributes somebody names."""
        known = {target.removesuffix("/__init__.py").replace("/", "."): s for target, s in self.sources.items()}
        for name, package in {**self._extensions, **known}.items():
            for attribute, submodule in package.lazy.items():
                if any(self._uses(source, name, attribute) for source in self.sources.values()):
                    self._import_dotted((*name.split("."), submodule))

    def _uses(self, source: Source, package: str, attribute: str) -> bool:
        last = package.rpartition(".")[2]
        imported = [i for i in source.imports if i.name == package and i.level == 0]
        if not imported and (last, attribute) not in source.attributes:
            return False
        named = {name for i in imported for name in i.names}
        bare = last in source.bare or "*" in named or (last in source.members and self._is_reached(last))
        if bare and attribute not in self._by_name.get(package, ()):
            return True
        if attribute.startswith(".") or attribute.endswith(")"):
            return bool(imported) and attribute in source.loose
        if attribute not in named and (last, attribute) not in source.attributes:
            return False
        beyond = ENOUGH.get((package, attribute))
        plain = (package, attribute) not in PLAIN or attribute not in source.loose
        return beyond is None or not plain or any(self._names(name) for name in beyond)

    def _is_reached(self, module: str) -> bool:
        """Whether x.json can be the module json where x was not imported: some module that imports it is handed on."""
        if any(source.computed or ("sys", "modules") in source.attributes for source in self.sources.values()):
            return True
        holders = {
            target.removesuffix(".py").removesuffix("/__init__").rpartition("/")[2]
            for target, source in self.sources.items()
            if any(module in (i.name.rpartition(".")[2], *i.names) or "*" in i.names for i in source.imports)
        }
        return any(holders & (source.bare | source.members) for source in self.sources.values())

    def _names(self, attribute: str) -> bool:
        return any(attribute in source.loose for source in self.sources.values())

    def _missing(self, wanted: Import, missing: str, shown: str) -> BuildError:
        import difflib

        top = missing.lstrip(".").partition(".")[0]
        known = {target.partition("/")[0].removesuffix(".py") for root in self.roots for target in root.files}
        unread = {name for root in self.roots for name in root.unread}
        near = difflib.get_close_matches(top, sorted(known | unread | set(self.c_modules)), 1, 0.8)
        near = [n for n in near if n in self.c_modules or any(root.find((n,))[1] for root in self.roots)]
        if missing.startswith("."):
            hint = "relative imports work inside a package (a folder), up to its top"
        elif missing in INSTEAD:
            hint = _instead_of(missing)
        elif "." in missing and (top in known or top in self.c_modules):
            hint = f"`{top}` is there, but has no module of that name"
        elif top in INSTEAD:
            hint = _instead_of(top)
        elif top in sys.stdlib_module_names:
            hint = f"CPython's `{top}` is not in MicroPython"
        elif near and near[0] != top:
            hint = f"did you mean `{near[0]}`?"
        else:
            hint = "put the file beside the script, or pin the package under [packages] in image.toml"
        searched = [root.label for root in self.roots] + [f"{len(self.c_modules)} built-in modules"]
        place = f"{shown}:{wanted.line}" if wanted.line else shown
        return BuildError(
            f"{place}: no module named '{missing}'", evidence=f"searched: {', '.join(searched)}", hint=hint
        )


def _instead_of(module: str) -> str:
    """What helps whoever imports a module of CPython's that is not there."""
    use = INSTEAD[module]
    nothing = use.removeprefix("nothing: ")
    return f"CPython's `{module}` is not in MicroPython" + (f"; use {use}" if nothing == use else f": {nothing}")


def _sure(source: Source) -> set[int]:
    """Guarded bodies whose imports never fail."""
    doubted = {i.attempt for i in source.imports if not i.names or any((i.name, name) not in SURE for name in i.names)}
    return {i.attempt for i in source.imports} - doubted - {0}


def _syntax_error(file: Frozen, e: SyntaxError | ValueError) -> BuildError:
    if not isinstance(e, SyntaxError) or not e.lineno:
        return BuildError(f"{show(file.path)}: {e}")
    line = (e.text or "").rstrip()
    return BuildError(
        f"{show(file.path)}:{e.lineno}: {e.msg}",
        evidence=line.strip() and f"{e.lineno} | {line}",
        hint=f"mend line {e.lineno}",
    )


def show(path: Path) -> str:
    """A path as a person would type it: relative to where they are, if it is below."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
