# SPDX-License-Identifier: MIT
"""TOML files that a user writes: read, and what is wrong in them told by file, line and key."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from floe.errors import ConfigError
from floe.userfile import read_file


def read(file: Path) -> tuple[dict[str, Any], str]:
    """The tables of a file, and its text. Raises ConfigError, OSError."""
    try:
        text = read_file(file).decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise ConfigError(str(file), "", f"not UTF-8: {e.reason} at byte {e.start}") from e
    try:
        return tomllib.loads(text), text
    except RecursionError:
        raise ConfigError(str(file), "", "nested too deeply") from None
    except tomllib.TOMLDecodeError as e:
        line = re.search(r"at line (\d+)", str(e))
        problem = re.sub(r" \(at .*\)", "", str(e))
        raise ConfigError(str(file), "", problem, line=int(line[1]) if line else None) from e
    except ValueError:  # Python's own limit, which tomllib does not know
        raise ConfigError(str(file), "", "a number has too many digits") from None


def explain(error: msgspec.ValidationError) -> tuple[str, str]:
    """Key and problem from msgspec's words: "Expected `str`, got `int` - at `$.memory`"."""
    problem, _, where = str(error).partition(" - at `$")
    key = re.sub(r"\[\.\.\.\]|\[\d+\]", "", where.rstrip("`")).lstrip(".")
    unknown = re.fullmatch(r"Object contains unknown field `(.+)`", problem)
    if unknown:
        return ".".join(part for part in (key, unknown[1]) if part), "unknown key"
    return key, problem[:1].lower() + problem[1:]


def line_of(text: str, key: str) -> int | None:
    """Line of a dotted key in TOML text, as good as a search can tell; None if it is not spelt out."""
    table = ""
    best: tuple[int, int] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[+\s*([^\]]+?)\s*\]", line)
        entry = re.match(r"""\s*(["']?)([^"'=\[\]#]+?)\1\s*=""", line)
        if header:
            table = header[1]
            found = table
        elif entry:
            found = f"{table}.{entry[2]}" if table else entry[2]
        else:
            continue
        if key and (key == found or key.startswith(found + ".")) and (best is None or len(found) > best[0]):
            best = (len(found), number)
    return best[1] if best else None
