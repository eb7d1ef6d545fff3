# SPDX-License-Identifier: MIT
"""The committed tree, for the checks: files by pattern, and C without its comments."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]


@cache
def files() -> tuple[str, ...]:
    """Paths of all files that git knows or would add, relative to the top, sorted."""
    argv = ["git", "-C", str(REPO), "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split("\n")
    return tuple(sorted(name for name in set(listed) if name and (REPO / name).is_file()))


def matching(*patterns: str) -> list[str]:
    """Files whose path matches one of the regular expressions from its start to its end."""
    return [name for name in files() if any(re.fullmatch(p, name) for p in patterns)]


def read(name: str) -> str:
    return (REPO / name).read_text(encoding="utf-8", errors="replace")


def without_comments(c: str) -> str:
    """C with comments and string contents blanked, lines kept."""

    def blank(match: re.Match[str]) -> str:
        text = match[0]
        if text.startswith('"'):
            return '""'
        return text if text.startswith("'") else "\n" * text.count("\n") or " "

    return re.sub(r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])+'""", blank, c, flags=re.DOTALL)
