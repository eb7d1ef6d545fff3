# SPDX-License-Identifier: MIT
"""What an image is: image.toml, or the defaults for a bare script. Read once, checked, frozen."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import msgspec

from floe import tomlfile
from floe.build import bases, variants
from floe.errors import ConfigError, NotFound, UsageError
from floe.spec.egress import parse_allow
from floe.spec.handover import check_name
from floe.spec.ports import parse_forwards
from floe.units import SizeError, parse_memory, parse_size
from floe.userfile import read_file

FILE_NAME = "image.toml"
HOST_CA = Path("/etc/ssl/certs/ca-certificates.crt")  # of the package ca-certificates
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Package(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A package: from PyPI, pinned, the sha256 of its file, if given, must match; or, with `mip`, by the name that
    MicroPython's mip takes, from `index` where that is not the usual one."""

    version: str = ""
    sha256: str = ""
    mip: str = ""
    index: str = ""


class Budget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Upper limits. elf: a build over it fails. compiler: what they were measured with, as "gcc 12"; a build with
    another one goes on with a warning. first_line, request: instructions, which no build counts but Floe's tests."""

    elf: str = ""
    compiler: str = ""
    first_line: int = 0
    request: int = 0


class Tls(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """ca: whom the guest trusts: "host", or a PEM file in the image's folder."""

    ca: str = ""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """image.toml as it is written."""

    name: str = ""
    version: str = "0"
    main: str = "main.py"
    description: str = ""
    base: str = ""
    wants: list[str] = []
    memory: str = "32M"
    profile: Literal["sealed", "dev"] = "sealed"
    ports: list[str] = []
    allow: list[str] = []
    env: dict[str, str] = {}
    args: list[str] = []
    imports: list[str] = []
    secrets: list[str] = []
    child_secrets: list[str] = []
    disks: bool = False
    fork: bool = False
    data: str = ""
    packages: dict[str, str | Package] = {}
    budget: Budget = Budget()
    tls: Tls = Tls()


class ImageConfig(msgspec.Struct, frozen=True):
    """One image, checked. Paths are absolute; sizes are bytes; 0 or None where there is none."""

    name: str
    version: str
    description: str
    folder: Path
    bases: tuple[Path, ...]  # folders of the images that it is built on: modules come from there, too
    wants: tuple[str, ...]  # files that images built on this one must have
    main: Path
    memory: int
    profile: Literal["sealed", "dev"]
    ports: tuple[str, ...]
    allow: tuple[str, ...]  # as --allow; empty: all
    env: dict[str, str]
    args: tuple[str, ...]
    imports: tuple[str, ...]
    secrets: tuple[str, ...]
    child_secrets: tuple[str, ...]
    disks: bool
    fork: bool  # has module vm, whatever the script imports
    data: Path | None
    packages: dict[str, Package]
    budget_elf: int
    budget_compiler: str
    ca: Path | None  # certificates to trust, PEM
    file: Path | None  # image.toml, None for a bare script


def load(app: Path, variant: str = "") -> ImageConfig:
    """The image that APP names: a .py file, or a folder with image.toml. A script that is the `main` of the
    image.toml beside it is that image. Raises NotFound, ConfigError, and UsageError for an unknown variant."""
    if app.is_dir():
        file = app / FILE_NAME
        if file.exists():
            return _load_file(file, variant)
        name = shlex.quote(app.name) if app.name not in ("", "..") else "NAME"
        raise NotFound(f"no {FILE_NAME} in {app}", hint=f"name the script, or make a folder with: floe new {name}")
    if not app.exists():
        raise NotFound(f"no such file: {app}", hint="APP is a .py file or a folder with image.toml")
    if app.suffix != ".py":
        raise ConfigError(str(app), "", "neither a .py file nor a folder with image.toml")
    beside = app.resolve().parent / FILE_NAME
    if beside.exists():
        config = _load_file(beside, variant)
        if config.main == app.resolve():
            return config
    if variant:
        hint = "a script that imports `ssl` has TLS" if variant == "tls" else "variants stand in an image's folder"
        raise UsageError(f"--variant {variant}: {app} has no {FILE_NAME}", hint=hint)
    name = re.sub(r"[^A-Za-z0-9._-]", "-", app.stem).lstrip("._-")[:64] or "app"
    parsed = _File(name=name, main=app.name)
    return _Checker(parsed, (app.resolve().parent,), None, lambda key: None).image()


@dataclass(frozen=True)
class _Base:
    """What an image takes from the one that it is built on."""

    keys: dict[str, Any]
    folders: tuple[Path, ...]


def _base_of(file: Path, raw: dict[str, Any], text: str, below: tuple[Path, ...]) -> _Base:
    name = raw.get("base", "")
    if not isinstance(name, str) or not name:
        return _Base({}, ())  # a wrong type is told with the others
    folder = file.resolve().parent
    try:
        found = bases.find(folder, name, (*below, file.resolve()), FILE_NAME)
        base, keys = _read(found, "", (*below, file.resolve()))  # what is wrong in it is told by its own name
        if lacks := bases.missing(folder, base.wants):
            problem = f"an image on {base.name} has a file {lacks}, and there is none beside this one"
            raise bases.BaseError(problem, f"write {lacks}; see {found.parent}")
    except bases.BaseError as e:
        raise ConfigError(str(file), "base", e.problem, line=tomlfile.line_of(text, "base"), hint=e.hint) from None
    return _Base(keys, (found.parent, *base.bases))


def _load_file(file: Path, variant: str) -> ImageConfig:
    return _read(file, variant, ())[0]


def _read(file: Path, variant: str, below: tuple[Path, ...]) -> tuple[ImageConfig, dict[str, Any]]:
    """An image, and its keys with those of its base, without variants. below: the images that are built on it."""
    raw, text = tomlfile.read(file)
    folder = file.resolve().parent
    base = _base_of(file, raw, text, below)
    try:
        own, others = variants.split(raw)
        own = bases.merge(own, base.keys)
        parsed = {"": _parse(own, file, lambda key: tomlfile.line_of(text, key))}
        for name in others:  # all of them: a mistake in one shows before it is asked for
            parsed[name] = _parse(variants.merge(own, others, name, folder.name), file, _finder(text, others, name))
        if variant not in parsed:
            variants.merge(own, others, variant, folder.name)
    except variants.VariantError as e:
        if e.known is None:
            raise ConfigError(str(file), e.key, e.problem, line=tomlfile.line_of(text, e.key)) from None
        hint = f"one of: {', '.join(e.known)}" if e.known else f"add a table [variant.{variant}]"
        raise UsageError(f"--variant {variant}: {file} has no such variant", hint=hint) from None
    checker = _Checker(parsed[variant], (folder, *base.folders), file, _finder(text, others, variant))
    return checker.image(), own


_Finder = Callable[[str], int | None]  # the line of a dotted key


def _finder(text: str, others: dict[str, dict[str, Any]], variant: str) -> _Finder:
    """Lines of keys as a variant has them: its own, or the image's where it says nothing."""

    def line(key: str) -> int | None:
        own = others[variant] if variant else {}
        first, _, rest = key.partition(".")
        mine = first in own and (not rest or not isinstance(own[first], dict) or rest.partition(".")[0] in own[first])
        return tomlfile.line_of(text, f"variant.{variant}.{key}" if mine else key)

    return line


def _parse(raw: dict[str, Any], file: Path, line: _Finder) -> _File:
    try:
        return msgspec.convert(raw, _File)
    except msgspec.ValidationError as e:
        key, problem = tomlfile.explain(e)
        raise ConfigError(str(file), key, problem, line=line(key), hint=_known_keys(key, problem)) from e


class _Checker:
    """What no type says, table by table: each method gives the checked value of its keys or raises ConfigError."""

    def __init__(self, parsed: _File, folders: tuple[Path, ...], file: Path | None, line: _Finder) -> None:
        """folders: the image's own, and those of its bases."""
        self._parsed, self._folders, self._file, self._line = parsed, folders, file, line
        self._folder = folders[0]

    def image(self) -> ImageConfig:
        parsed = self._parsed
        self._check_words()
        return ImageConfig(
            name=self._name(),
            version=parsed.version,
            description=parsed.description,
            folder=self._folder,
            bases=self._folders[1:],
            wants=tuple(parsed.wants),
            main=self._main(),
            memory=self._size("memory", parsed.memory, parse_memory),
            profile=parsed.profile,
            ports=tuple(parsed.ports),
            allow=tuple(parsed.allow),
            env=parsed.env,
            args=tuple(parsed.args),
            imports=tuple(parsed.imports),
            secrets=tuple(parsed.secrets),
            child_secrets=tuple(parsed.child_secrets),
            disks=parsed.disks,
            fork=parsed.fork,
            data=self._data(),
            packages={key: self._package(key, value) for key, value in sorted(parsed.packages.items())},
            budget_elf=self._budget(),
            budget_compiler=parsed.budget.compiler,
            ca=self._ca(parsed.tls.ca),
            file=self._file,
        )

    def _fail(self, key: str, problem: str, hint: str = "") -> ConfigError:
        return ConfigError(str(self._file or self._parsed.main), key, problem, line=self._line(key), hint=hint)

    def _size(self, key: str, value: str, parse: Callable[[str], int]) -> int:
        try:
            return parse(value)
        except SizeError as e:
            hint = f'{key.rpartition(".")[2]} = "{e.nearest or "32M"}"'
            raise self._fail(key, f"{value!r} is {e.problem}", hint) from None

    def _inside(self, key: str, value: str, folder: Path | None = None) -> Path:
        folder = folder or self._folder
        try:
            path = (folder / value).resolve()
            path.exists()
        except (OSError, ValueError) as e:
            raise self._fail(key, f"{value[:40]!r} is no path: {getattr(e, 'strerror', None) or e}") from None
        if not path.is_relative_to(folder):
            raise self._fail(key, f"'{value}' is outside the image's folder")
        return path

    def _name(self) -> str:
        name = self._parsed.name or self._folder.name
        if not _NAME.fullmatch(name):
            raise self._fail("name", f"'{name}' is no image name", "letters, digits, '.', '_' and '-', 64 at most")
        return name

    def _main(self) -> Path:
        text = self._parsed.main
        places = [self._inside("main", text, folder) for folder in self._folders]
        main = next((place for place in places if place.is_file()), places[0])
        if main.suffix != ".py":
            raise self._fail("main", f"'{text}' is not a .py file")
        if not main.name.isprintable() or any(c in main.name for c in '"\\'):
            problem = f"{main.name!r} cannot be frozen under this name"
            raise self._fail("main", problem, "no quotes, backslashes or line ends in it")
        if not main.is_file():
            raise self._fail("main", f"{'no regular' if main.exists() else 'no such'} file: {text}")
        return main

    def _check_words(self) -> None:
        """Ports, what may be reached, names of variables and of secrets."""
        for port in self._parsed.ports:
            try:
                parse_forwards(port)
            except UsageError:
                hint = 'HOST:GUEST, for example ports = ["8080:80"]'
                raise self._fail("ports", f"'{port}' is no port forwarding", hint) from None
        try:
            parse_allow(self._parsed.allow)
        except UsageError as e:
            hint = 'allow = ["HOST:PORT", "HOST:PORT/udp"], or ["none"]'
            raise self._fail("allow", e.message.removeprefix("--allow "), hint) from None
        for key in self._parsed.env:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key):
                raise self._fail(f"env.{key}", "no name of an environment variable")
        for secret in self._parsed.secrets:
            try:
                check_name(secret, "secrets")
            except UsageError as e:
                raise self._fail("secrets", f"'{secret}' is no name of a secret", e.hint) from None
        for secret in self._parsed.child_secrets:
            if secret not in self._parsed.secrets:
                raise self._fail("child_secrets", f"'{secret}' is none of the secrets", f'secrets = ["{secret}"]')

    def _data(self) -> Path | None:
        named = self._parsed.data
        data = self._inside("data", named or "data")
        if named and not data.is_dir():
            raise self._fail("data", f"no such folder: {named}")
        return data if self._file is not None and data.is_dir() else None

    def _budget(self) -> int:
        budget = self._parsed.budget
        if budget.compiler and not re.fullmatch(r"gcc \d+(\.\d+)*", budget.compiler):
            raise self._fail("budget.compiler", "names no compiler", 'for example compiler = "gcc 12"')
        return self._size("budget.elf", budget.elf, partial(parse_size, plain=True)) if budget.elf else 0

    def _ca(self, value: str) -> Path | None:
        if not value:
            return None
        path = HOST_CA if value == "host" else self._inside("tls.ca", value)
        if not path.is_file():
            hint = "sudo apt-get install ca-certificates" if value == "host" else '"host", or a PEM file in this folder'
            raise self._fail("tls.ca", f"no such file: {path if value == 'host' else value}", hint)
        if b"-----BEGIN CERTIFICATE-----" not in read_file(path):
            raise self._fail("tls.ca", f"no certificate in {value}", "PEM: -----BEGIN CERTIFICATE-----")
        return path

    def _package(self, key: str, value: str | Package) -> Package:
        package = Package(value) if isinstance(value, str) else value
        version = package.version.removeprefix("==").strip()
        if package.mip:
            if package.sha256:
                hint = "packages.lock pins each of them"
                raise self._fail(f"packages.{key}.sha256", "mip's packages are several files", hint)
            if not re.fullmatch(r"[A-Za-z0-9._-]*", version):
                raise self._fail(f"packages.{key}.version", f"'{package.version}' is no version")
            return Package(version or "latest", "", package.mip, package.index)
        if not re.fullmatch(r"[0-9][0-9A-Za-z.!+_-]*", version):
            hint = f'one exact version: {key} = "1.2.3"'
            raise self._fail(f"packages.{key}", f"'{package.version}' pins no version", hint)
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", key):
            raise self._fail(f"packages.{key}", "no package name")
        if package.sha256 and not re.fullmatch(r"[0-9a-f]{64}", package.sha256):
            raise self._fail(f"packages.{key}.sha256", "must be 64 lower-case hexadecimal digits")
        return Package(version, package.sha256)


def _known_keys(key: str, problem: str) -> str:
    if problem != "unknown key":
        return ""
    tables: dict[str, tuple[str, ...]] = {
        "budget": Budget.__struct_fields__,
        "packages": Package.__struct_fields__,
        "tls": Tls.__struct_fields__,
    }
    return "known keys: " + ", ".join(tables.get(key.partition(".")[0], _File.__struct_fields__))
