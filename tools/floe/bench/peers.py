# SPDX-License-Identifier: MIT
"""What Floe is compared with: a peer is a TOML file that says what is run, as a process of Linux, as the only program
of a Linux microVM, or by a script of its own. peers/ has ours; a user names others with --peer."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec

from floe import tomlfile
from floe.errors import ConfigError, NotFound

FOLDER = Path(__file__).parent / "peers"
Service = Literal["static", "json", "microdot", "dns", "bulk", "redis", "mqtt"]
SERVICES: tuple[str, ...] = get_args(Service)
# What stands for a value of the run, in a command, in env and in files; and what only some kinds have.
_WORDS = ("port", "address", "dir", "script", "data", "memory")
WORDS: dict[str, tuple[str, ...]] = {
    "process": (*_WORDS, "here", "python", "micropython"),
    "linux": (*_WORDS, "micropython"),
    "own": (*_WORDS, "here", "python", "tap", "accel"),
}
_WORD = re.compile(r"\{([a-z][a-z0-9.-]*)\}")
_NAME = r"^[a-z][a-z0-9-]{0,30}$"


class Peer(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A file's keys; docs/bench.md says what each means."""

    title: Annotated[str, msgspec.Meta(min_length=1, max_length=60)]
    kind: Literal["process", "linux", "own"]
    serves: Annotated[tuple[Service, ...], msgspec.Meta(min_length=1)]
    command: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    name: Annotated[str, msgspec.Meta(pattern=_NAME)] = ""
    programs: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    env: dict[str, str] = {}
    ready: str = ""
    ready_s: Annotated[float, msgspec.Meta(gt=0, le=600)] = 60.0
    stop: Literal["TERM", "INT", "KILL"] = "TERM"
    stop_s: Annotated[float, msgspec.Meta(ge=0, le=60)] = 5.0
    memory: Annotated[str, msgspec.Meta(pattern=r"^[1-9][0-9]*M$")] = "256M"
    kernel: tuple[str, ...] = ()  # words of the Linux kernel's command line
    here: str = ""  # the file's folder; not a key

    @property
    def signal(self) -> int:
        """That asks it to end."""
        return int(getattr(signal, f"SIG{self.stop}"))


def load(file: Path) -> Peer:
    """A peer from its file. Raises ConfigError, NotFound."""
    try:
        tables, text = tomlfile.read(file)
    except OSError as e:
        raise NotFound(f"cannot read the peer {file}: {e.strerror or e}", hint="docs/bench.md has an example") from e
    if "here" in tables:
        raise _wrong(file, text, "here", "unknown key")
    # The name of the file is the peer's, if it says none.
    tables = {"name": file.stem, **tables, "here": str(file.resolve().parent)}
    try:
        peer = msgspec.convert(tables, Peer)
    except msgspec.ValidationError as e:
        key, problem = tomlfile.explain(e)
        raise _wrong(file, text, key, problem) from e
    _check(peer, file, text, tables)
    return peer


def _wrong(file: Path, text: str, key: str, problem: str) -> ConfigError:
    return ConfigError(
        str(file), key, problem, line=tomlfile.line_of(text, key), hint="docs/bench.md, A peer of your own"
    )


def _check(peer: Peer, file: Path, text: str, tables: Mapping[str, object]) -> None:
    """What types alone do not say."""
    known = {*WORDS[peer.kind], *peer.programs}
    for key, values in (("command", peer.command), ("env", tuple(peer.env.values()))):
        for unknown in (word for value in values for word in _WORD.findall(value) if word not in known):
            raise _wrong(file, text, key, f"{{{unknown}}} stands for nothing; there are {', '.join(sorted(known))}")
    for name in peer.files:
        if "/" in name or not (file.parent / name).is_file():
            raise _wrong(file, text, "files", f"{name} is no file beside {file.name}")
    for key in ("kernel", "packages"):
        if getattr(peer, key) and peer.kind != "linux":
            raise _wrong(file, text, key, "only a peer of kind linux has this")
    for key in ("ready_s", "stop", "stop_s"):
        if key in tables and peer.kind == "linux":
            raise _wrong(file, text, key, "a peer of kind linux has none: its microVM has 60 s, and is killed")


def filled(text: str, values: Mapping[str, str]) -> str:
    """A text with what stands for values replaced; other braces stay."""
    return _WORD.sub(lambda match: values.get(match[1], match[0]), text)


def chosen(service: str, more: Sequence[Path] = ()) -> list[Peer]:
    """Those that serve it: ours by name, then the user's in his order. Raises ConfigError, NotFound."""
    found = [load(file) for file in (*sorted(FOLDER.glob("*.toml")), *more)]
    names = [peer.name for peer in found]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(name, "name", "two peers have this name", hint="give yours another `name`")
    return [peer for peer in found if service in peer.serves]
