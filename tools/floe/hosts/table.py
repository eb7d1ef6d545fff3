# SPDX-License-Identifier: MIT
"""The user's table of other hosts: $XDG_CONFIG_HOME/floe/hosts.toml, a table for each name, whose `uri` says what is
there. What a scheme means is decided by who uses it; parse_ssh() knows ssh://[user@]host[:port][/path-to-floe]."""

from __future__ import annotations

import os
import re
import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from floe import tomlfile
from floe.errors import ConfigError, FloeError, NotFound, UsageError
from floe.userfile import forget

SCHEMES = ("ssh",)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_HINT = "ssh://[user@]host[:port][/path-to-floe]"


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One host, as the file has it."""

    uri: str


@dataclass(frozen=True)
class SshHost:
    """A host that is reached by ssh. `user` and `port`: "" and 0 where ssh's own configuration decides."""

    name: str
    address: str
    user: str = ""
    port: int = 0
    floe: str = "floe"  # the command there


def path() -> Path:
    """The file; $XDG_CONFIG_HOME is $HOME/.config if not set."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".config") / "floe" / "hosts.toml"


def read() -> dict[str, Entry]:
    """All hosts, in the order of the file; none where there is no file. Raises ConfigError, FloeError."""
    file = path()
    try:
        tables, text = tomlfile.read(file)
    except FileNotFoundError:
        return {}
    except OSError as e:
        raise FloeError(f"cannot read {file}: {e.strerror}") from e
    found = {}
    for name, table in tables.items():
        try:
            found[name] = msgspec.convert(table, Entry)
        except msgspec.ValidationError as e:
            key, problem = tomlfile.explain(e)
            key = f"{name}.{key}" if key else name
            raise ConfigError(str(file), key, problem, line=tomlfile.line_of(text, key)) from None
    return found


def find(name: str) -> SshHost:
    """A host of the table. Raises NotFound, ConfigError, UsageError, FloeError."""
    entry = read().get(name)
    if entry is None:
        raise NotFound(f"there is no host {name}", hint=f"floe host ls, floe host add {shlex.quote(name)} {_HINT}")
    return parse_ssh(name, entry.uri)


def add(name: str, uri: str) -> None:
    """Write down a host. Raises UsageError, ConfigError, FloeError."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name of a host", hint="letters, digits, '_', '-': 32 at most")
    parse_ssh(name, uri)
    if name in read():
        raise UsageError(f"there is a host {name} already", hint=f"floe host rm {name}")
    text = _text()
    gap = "\n" if text and not text.endswith("\n\n") else ""
    # What msgspec writes as a string of JSON is one of TOML.
    _write(f"{text}{gap}[{name}]\nuri = {msgspec.json.encode(uri).decode()}\n")


def remove(name: str) -> None:
    """Forget a host; what else is in the file stays as it is. Raises NotFound, ConfigError, FloeError."""
    if name not in read():
        raise NotFound(f"there is no host {name}", hint="floe host ls")
    kept, ours, found = [], False, False
    for line in _text().splitlines(keepends=True):
        if header := re.match(r"\s*\[([^\[\]]+)\]", line):
            ours = header[1].strip().strip("\"'") == name
            found = found or ours
        if not ours:
            kept.append(line)
    if not found:
        raise FloeError(f"{path()}: {name} is not written as a table [{name}]", hint="an editor removes it")
    _write("".join(kept))


def parse_ssh(name: str, uri: str) -> SshHost:
    """Raises UsageError."""
    try:
        parts = urlsplit(uri)
        port = parts.port or 0
    except ValueError as e:
        raise UsageError(f"{uri}: {e}", hint=_HINT) from None
    if parts.scheme not in SCHEMES:
        raise UsageError(f"{uri}: hosts are reached by {', '.join(SCHEMES)}", hint=_HINT)
    address, user = parts.hostname or "", unquote(parts.username or "")
    if parts.password is not None or parts.query or parts.fragment:
        raise UsageError(f"{uri}: more than ssh can be told", hint=f"{_HINT}; keys are ssh's business")
    # What begins like an option would be one, and what has blanks or quotes is nobody's name.
    if not re.fullmatch(r"[A-Za-z0-9_.:%][A-Za-z0-9_.:%-]*", address) or not re.fullmatch(r"([\w.][\w.@+-]*)?", user):
        raise UsageError(f"{uri}: names no host", hint=_HINT)
    return SshHost(name, address, user, port, unquote(parts.path) if parts.path not in ("", "/") else "floe")


def _text() -> str:
    try:
        return path().read_text()
    except FileNotFoundError:
        return ""


def _write(text: str) -> None:
    """Replace the file as a whole."""
    file = path()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        fd, new = tempfile.mkstemp(dir=file.parent, prefix=".hosts.")
        try:
            with os.fdopen(fd, "w") as f:
                f.write(text)
            os.replace(new, os.path.realpath(file))
        except BaseException:
            forget(Path(new))
            raise
    except OSError as e:
        raise FloeError(f"cannot write {file}: {e.strerror}", hint="another XDG_CONFIG_HOME") from e
