# SPDX-License-Identifier: MIT
"""What a guest reads by name: --secret, --env-file and --env.

They travel by QEMU's fw_cfg, never on a command line and never in the ELF. Under Xen they travel by XenStore, and stand
on the command lines of xenstore-write in dom0 for a moment: who may see dom0's processes may see them. A VmSpec holds
their paths; their content is read when the VM starts and handed over in memory (memfd_create(2)), which ends with QEMU.
--env goes as a last env file, whose lines end with NUL, so that a value may have several lines.
Docker's format of env files: one K=V a line, the value as it stands; K alone takes this shell's value; `#` begins a
comment line.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from floe.errors import ConfigError, FloeError, NotFound, UsageError

MAX_SECRETS = 16  # of the 32 places in QEMU's fw_cfg
MAX_SECRET = 1 << 20  # bytes: HAL_BLOB_MAX
MAX_ENV = 64 << 10  # bytes of all env files together
MAX_ENV_FILES = 9  # as many as one digit of floe.env= counts
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
_SECRET = "secret/"  # before a secret's name, in a blob's
_HINT = "--secret NAME=FILE"
_HINT_LARGE = f"{_HINT} for what is large: up to {MAX_SECRET >> 10} KiB each, read by floe.secret()"


@dataclass(frozen=True)
class Blob:
    """What the guest finds below a name. The content is not shown where a Blob is."""

    name: str
    content: bytes = field(repr=False)


def described(names: Collection[str]) -> str:
    """Blobs of these names, in words: "variables and the secret token"."""
    secrets = sorted(name.removeprefix(_SECRET) for name in names if name.startswith(_SECRET))
    words = ["variables"] if len(secrets) < len(names) else []
    words += [f"the secret{'s' if len(secrets) > 1 else ''} {', '.join(secrets)}"] if secrets else []
    return " and ".join(words)


def parse_secret(text: str) -> tuple[str, Path]:
    """--secret's value: a name and the file, whose path is made absolute. Raises UsageError, NotFound, FloeError."""
    name, equals, file = text.partition("=")
    if not equals or not file:
        raise UsageError(f"--secret {text}: no file is named", hint=_HINT)
    check_name(name, f"--secret {text}")
    path = _rereadable(Path(file), f"--secret {name}")
    size = path.stat().st_size
    if size > MAX_SECRET:
        raise UsageError(f"--secret {name}: {file} has {size} bytes; a secret has at most {MAX_SECRET}")
    return name, path


def parse_secrets(values: Sequence[str], required: Sequence[str]) -> tuple[tuple[str, Path], ...]:
    """All --secret options together. `required`: what the image declares. Raises as parse_secret()."""
    secrets = [parse_secret(value) for value in values]
    names = [name for name, _ in secrets]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"--secret {name} is given twice")
    missing = [name for name in required if name not in names]
    if missing:
        needs = "the secret " if len(missing) == 1 else "the secrets "
        raise UsageError(
            f"the image needs {needs}{', '.join(missing)}", hint=" ".join(f"--secret {name}=FILE" for name in missing)
        )
    if len(secrets) > MAX_SECRETS:
        raise UsageError(f"{len(secrets)} secrets; a guest has at most {MAX_SECRETS}")
    return tuple(secrets)


def check_name(name: str, shown: str) -> None:
    """Raises UsageError where a guest could not ask for a secret of that name."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{shown}: '{name}' is no name of a secret", hint="letters, digits, '.', '_', '-': 32 at most")


def parse_env_files(values: Sequence[str]) -> tuple[Path, ...]:
    """The files of all --env-file options, absolute. Raises UsageError, NotFound, FloeError."""
    if len(values) > MAX_ENV_FILES:
        raise UsageError(f"{len(values)} files for --env-file; there are at most {MAX_ENV_FILES}")
    return tuple(_rereadable(Path(value), f"--env-file {value}") for value in values)


def read_env_files(paths: Sequence[Path]) -> list[dict[str, str]]:
    """The variables of each file. Raises ConfigError with file and line, UsageError, NotFound, FloeError."""
    files = [_variables(path) for path in paths]
    size = sum(len(_env_text(values)) for values in files)
    if size > MAX_ENV:
        raise UsageError(
            f"the variables of --env-file take {size} bytes; there is room for {MAX_ENV}", hint=_HINT_LARGE
        )
    return files


def _variables(path: Path) -> dict[str, str]:
    values: dict[str, str] = {}
    raw = _read(path, "--env-file", MAX_ENV)
    for number, line in enumerate(raw.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        entry = _entry(line.removesuffix(b"\r"), str(path), number)
        if entry is not None:
            values[entry[0]] = entry[1]
    return values


def _entry(raw: bytes, file: str, number: int) -> tuple[str, str] | None:
    """Name and value of a line; None for one that sets nothing."""
    try:
        line = raw.decode().lstrip(" \t")
    except UnicodeDecodeError as e:
        raise ConfigError(file, "", f"not UTF-8: {e.reason} at byte {e.start} of the line", line=number) from None
    if not line or line.startswith("#"):
        return None
    name, equals, value = line.partition("=")
    name = name if equals else name.rstrip()
    if not name:
        raise ConfigError(file, "", "no name before '='", line=number)
    if re.search(r"\s", name):
        raise ConfigError(
            file, "", f"'{name}' is no name: it holds a blank", line=number, hint="NAME=VALUE, without `export`"
        )
    if "\0" in line:
        raise ConfigError(file, "", "a NUL character", line=number)
    if not equals:
        return (name, os.environ[name]) if name in os.environ else None
    return name, value


def _env_text(values: Mapping[str, str], end: str = "\n") -> bytes:
    return "".join(f"{name}={value}{end}" for name, value in values.items()).encode()


def env_blobs(env_files: Sequence[Path], env: Mapping[str, str]) -> int:
    """How many blobs the variables take; at most as many as one digit counts."""
    return min(len(env_files) + bool(env), MAX_ENV_FILES)


def read(secrets: Sequence[tuple[str, Path]], env_files: Sequence[Path], env: Mapping[str, str]) -> tuple[Blob, ...]:
    """All a VM is to be given; `env` is --env's. Raises as read_env_files() does."""
    blobs = [Blob(f"{_SECRET}{name}", _read(path, f"--secret {name}", MAX_SECRET)) for name, path in secrets]
    files = [*read_env_files(env_files), dict(env)] if env else read_env_files(env_files)
    if len(files) > MAX_ENV_FILES:
        last = files.pop()
        files[-1] = {**files[-1], **last}
    own = len(files) - 1 if env else -1
    blobs += [Blob(f"env/{n}", _env_text(values, "\0" if n == own else "\n")) for n, values in enumerate(files)]
    if (size := sum(len(blob.content) for blob in blobs[len(secrets) :])) > MAX_ENV:
        raise UsageError(
            f"the variables of --env-file and --env take {size} bytes; there is room for {MAX_ENV}",
            hint=_HINT_LARGE,
        )
    return tuple(blobs)


def for_child(blobs: Sequence[Blob], allowed: Collection[str]) -> tuple[Blob, ...]:
    """What a copy of a running VM is given of all that this one was: variables, and the secrets of these names."""
    names = {f"{_SECRET}{name}" for name in allowed}
    return tuple(blob for blob in blobs if not blob.name.startswith(_SECRET) or blob.name in names)


@contextmanager
def as_files(blobs: Sequence[Blob]) -> Iterator[list[int]]:
    """A descriptor of a file in memory for each blob; they are closed at the end."""
    fds: list[int] = []
    try:
        for blob in blobs:
            fds.append(_memfd(blob.content))
        yield fds
    finally:
        for fd in fds:
            os.close(fd)


def _memfd(content: bytes) -> int:
    fd = os.memfd_create("floe", os.MFD_CLOEXEC)
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
    return fd


def _rereadable(path: Path, shown: str) -> Path:
    """An absolute path that can be read more than once: a pipe is read to memory, and lives as long as we do."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise NotFound(f"{shown}: no such file: {path}") from None
    except OSError as e:
        raise FloeError(f"{shown}: cannot read {path}: {e.strerror}") from e
    if stat.S_ISREG(mode):
        _read(path, shown, 0)
        return path.resolve()
    if stat.S_ISDIR(mode):
        raise UsageError(f"{shown}: {path} is a folder")
    fd = _memfd(_read(path, shown, MAX_SECRET))
    return Path(f"/proc/{os.getpid()}/fd/{fd}")


def _read(path: Path, shown: str, limit: int) -> bytes:
    """A file's content, of which limit + 1 bytes are looked at. Raises NotFound, UsageError, FloeError."""
    try:
        with path.open("rb") as f:
            raw = f.read(limit + 1)
    except FileNotFoundError:
        raise NotFound(f"{shown}: no such file: {path}") from None
    except OSError as e:
        raise FloeError(f"{shown}: cannot read {path}: {e.strerror}") from e
    if limit and len(raw) > limit:
        hint = _HINT_LARGE if limit == MAX_ENV else ""
        raise UsageError(f"{shown}: {path} has more than {limit} bytes", hint=hint)
    return raw
