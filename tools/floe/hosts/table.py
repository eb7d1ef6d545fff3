# SPDX-License-Identifier: MIT
"""The user's table of other hosts: $XDG_CONFIG_HOME/floe/hosts.toml, a table for each name, whose `uri` says what is
there: a floe that ssh reaches (ssh://), or a libvirt (its own URIs). Either serves whoever asks, as far as it can."""

from __future__ import annotations

import os
import re
import shlex
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import msgspec

from floe import tomlfile
from floe.errors import ConfigError, FloeError, NotFound, UsageError
from floe.userfile import forget

_SSH = "ssh"
_LIBVIRT = re.compile(r"(qemu|xen(?=.*/system))(?:\+(unix|ssh))?:/(system|session)")  # scheme and path of its URIs
_DEFAULT = "qemu:///system"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_HINT = "ssh://[user@]host[:port][/path-to-floe], qemu+ssh://[user@]host[:port]/system, qemu:///session"


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


@dataclass(frozen=True)
class LibvirtHost:
    """A host whose libvirt starts domains. driver: as libvirt's URIs have it; instance: "system", or the user's own
    "session"."""

    name: str
    driver: str
    instance: str
    socket: str = ""  # of this machine's; "": where libvirt expects it
    ssh: SshHost | None = None  # None: this machine

    @property
    def uri(self) -> str:
        """As libvirt there knows itself."""
        return f"{self.driver}:///{self.instance}"


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
    """A host of the table, for a floe there. Raises NotFound, ConfigError, UsageError, FloeError."""
    host = parse(name, uri := _uri(name))
    if isinstance(host, SshHost):
        return host
    if host.ssh is None:
        raise UsageError(f"{name} is {uri}: no ssh leads there", hint=f"floe host add NAME {_HINT.partition(',')[0]}")
    return host.ssh


def find_libvirt(name: str) -> LibvirtHost:
    """A host of the table, for its libvirt; that of ssh:// is _DEFAULT. Raises as find() does."""
    host = parse(name, _uri(name))
    if isinstance(host, LibvirtHost):
        return host
    default = parse(name, _DEFAULT)
    assert isinstance(default, LibvirtHost)
    return replace(default, ssh=host)


def _uri(name: str) -> str:
    entry = read().get(name)
    if entry is None:
        raise NotFound(f"there is no host {name}", hint=f"floe host ls, floe host add {shlex.quote(name)} URI")
    return entry.uri


def add(name: str, uri: str) -> None:
    """Write down a host. Raises UsageError, ConfigError, FloeError."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name of a host", hint="letters, digits, '_', '-': 32 at most")
    parse(name, uri)
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


def parse(name: str, uri: str) -> SshHost | LibvirtHost:
    """What a URI says. Raises UsageError."""
    try:
        parts = urlsplit(uri)
        parts.port  # noqa: B018 raises for what is none
    except ValueError as e:
        raise UsageError(f"{uri}: {e}", hint=_HINT) from None
    if parts.scheme == _SSH:
        return _ssh(name, uri, parts, unquote(parts.path) if parts.path not in ("", "/") else "floe")
    match = _LIBVIRT.fullmatch(f"{parts.scheme}:{parts.path}")
    if match is None:
        raise UsageError(f"{uri}: hosts are reached by ssh, or by URIs of libvirt's", hint=_HINT)
    driver, transport, instance = match.groups()
    if transport == _SSH:
        return LibvirtHost(name, driver, instance, ssh=_ssh(name, uri, parts, "floe"))
    if parts.netloc:
        raise UsageError(f"{uri}: another machine's libvirt is reached by {driver}+ssh", hint=_HINT)
    return LibvirtHost(name, driver, instance, _socket(uri, parts) if transport else _no_more(uri, parts))


def _ssh(name: str, uri: str, parts: SplitResult, command: str) -> SshHost:
    address, user = parts.hostname or "", unquote(parts.username or "")
    if parts.password is not None or parts.query or parts.fragment:
        raise UsageError(f"{uri}: more than ssh can be told", hint=f"{_HINT}; keys are ssh's business")
    # What begins like an option would be one, and what has blanks or quotes is nobody's name.
    if not re.fullmatch(r"[A-Za-z0-9_.:%][A-Za-z0-9_.:%-]*", address) or not re.fullmatch(r"([\w.][\w.@+-]*)?", user):
        raise UsageError(f"{uri}: names no host", hint=_HINT)
    return SshHost(name, address, user, parts.port or 0, command)


def _socket(uri: str, parts: SplitResult) -> str:
    """What follows as ?socket=."""
    if not parts.query and not parts.fragment:
        return ""
    found = dict(parse_qsl(parts.query))
    if parts.fragment or set(found) != {"socket"} or not os.path.isabs(found["socket"]):
        raise UsageError(f"{uri}: what may follow is ?socket=/a/path", hint=_HINT)
    return found["socket"]


def _no_more(uri: str, parts: SplitResult) -> str:
    if parts.query or parts.fragment:
        raise UsageError(f"{uri}: nothing may follow {parts.path}", hint=_HINT)
    return ""


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
