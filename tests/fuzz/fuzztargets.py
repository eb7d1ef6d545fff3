# SPDX-License-Identifier: MIT
"""The table of targets, targets.toml, and the committed corpora beside it.

A corpus is a text file: a line an input, in base64; what begins with "#" is a remark, such as which crash the next line was."""

from __future__ import annotations

import base64
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
CORPUS_MOST = 16_000  # bytes of a committed corpus, but for what has a remark


@dataclass(frozen=True)
class Group:
    """Code under test that several targets share. sources: file to its own flags. changed: file to its text here, where a
    check that no invented input passes is left out, such as a checksum's."""

    name: str
    sources: dict[Path, tuple[str, ...]]
    changed: dict[Path, str]
    flags: tuple[str, ...]
    link: tuple[str, ...]


@dataclass(frozen=True)
class Target:
    """One program. group: the code it feeds."""

    name: str
    group: Group
    about: str
    max_len: int

    @property
    def source(self) -> Path:
        return HERE / "targets" / f"{self.name}.c"

    @property
    def corpus(self) -> Path:
        return HERE / "corpus" / f"{self.name}.txt"

    @property
    def dictionary(self) -> Path | None:
        path = HERE / "corpus" / f"{self.name}.dict"
        return path if path.exists() else None


def _files(patterns: list[str]) -> list[Path]:
    found = []
    for pattern in patterns:
        matched = sorted(REPO.glob(pattern))
        if not matched:
            raise FileNotFoundError(f"no file is {pattern}; try: make setup")
        found += matched
    return found


def change(file: str, before: str, after: str, text: str = "") -> str:
    """The text of a source, or `text`, in which `before`, which stands there once, is `after`. Raises ValueError."""
    text = text or (REPO / file).read_text()
    if text.count(before) != 1:
        raise ValueError(f"{file} has {before!r} {text.count(before)} times")
    return text.replace(before, after)


def _group(name: str, row: dict[str, Any]) -> Group:
    sources: dict[Path, tuple[str, ...]] = dict.fromkeys(_files(row["sources"]), ("-Wall", "-Wextra", "-Werror"))
    sources |= dict.fromkeys(_files(row.get("upstream", [])), ("-w", "-fno-sanitize=null"))
    sources |= dict.fromkeys(_files(row.get("plain", [])), ("-w", "-O2", "-fno-sanitize=all"))
    for path in _files(row.get("without", [])):
        del sources[path]
    for pair in row.get("define", []):
        file, _, flag = pair.partition(": ")
        sources[REPO / file] = (*sources[REPO / file], *flag.split())
    changed: dict[Path, str] = {}
    for c in row.get("change", []):
        changed[REPO / c["file"]] = change(**c, text=changed.get(REPO / c["file"], ""))
    return Group(name, sources, changed, tuple(row["flags"]), tuple(row.get("link", [])))


def targets() -> dict[str, Target]:
    """All targets, in the order of the table."""
    table = tomllib.loads((HERE / "targets.toml").read_text())
    groups = {name: _group(name, row) for name, row in table["group"].items()}
    return {
        name: Target(name, groups[row["group"]], row["about"], row["max_len"]) for name, row in table["target"].items()
    }


def inputs(corpus: Path) -> list[bytes]:
    """The inputs of a committed corpus; none where there is no file."""
    lines = corpus.read_text().splitlines() if corpus.exists() else []
    return [base64.b64decode(line) for line in lines if line and not line.startswith("#")]


def remarked(corpus: Path) -> str:
    """The part of a corpus that stands for crashes: each remark and the input after it, which no merging drops."""
    lines = corpus.read_text().splitlines() if corpus.exists() else []
    kept = []
    for i, line in enumerate(lines):
        if line.startswith("#") or (i > 0 and lines[i - 1].startswith("#")):
            kept.append(line)
    return "".join(f"{line}\n" for line in kept)


def write_corpus(corpus: Path, found: list[bytes]) -> None:
    """Write a corpus anew: what has a remark first, then these inputs, short ones first, as long as there is room."""
    kept = remarked(corpus)
    has = {base64.b64decode(line) for line in kept.splitlines() if not line.startswith("#")}
    lines, room = [], CORPUS_MOST
    for data in sorted(set(found) - has - {b""}, key=lambda data: (len(data), data)):
        line = f"{base64.b64encode(data).decode()}\n"
        room -= len(line)
        if room < 0:
            break
        lines.append(line)
    corpus.write_text(kept + "".join(lines))
