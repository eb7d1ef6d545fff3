# SPDX-License-Identifier: MIT
"""Sizes and times as people write them: the one parser for image.toml and for every flag."""

from __future__ import annotations

import os
import re

from floe.errors import UsageError

_SHIFTS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
MEMORY_MIN = 2 << 20  # below it no image loads
PAGE = 4096
_SECONDS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}


class SizeError(ValueError):
    """No size, or one that is not allowed. problem: "not a size"; nearest: the size below it that is, as text."""

    def __init__(self, problem: str, nearest: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.nearest = nearest


def parse_size(text: str, *, minimum: int = 0, multiple: int = 1, suffixes: str = "KMG", plain: bool = False) -> int:
    """Bytes of "600K", "32M", "1GiB": powers of 1024. plain: a number alone is one of bytes. Raises SizeError."""
    match = re.fullmatch(rf"([0-9]{{1,15}})([{suffixes}]?)(I?B)?", text.strip().upper())
    if match is None or not (match[2] or (plain and not match[3])):
        raise SizeError("not a size")
    size = int(match[1]) << _SHIFTS[match[2]]
    if size < minimum:
        raise SizeError(f"less than {show_size(minimum)}", show_size(minimum))
    if size % multiple:
        raise SizeError(f"not a multiple of {show_size(multiple)}", show_size(size // multiple * multiple))
    return size


def parse_memory(text: str) -> int:
    """RAM of a VM: whole pages, and enough of them for an image to load. Raises SizeError."""
    return parse_size(text, minimum=MEMORY_MIN, multiple=PAGE)


def show_size(size: int) -> str:
    """As parse_size reads it: in the largest unit that has no fraction."""
    for suffix, shift in reversed(_SHIFTS.items()):
        if size and size % (1 << shift) == 0:
            return f"{size >> shift}{suffix}"
    return "0"


def parse_seconds(text: str) -> float | None:
    """Seconds of "30s", "500ms", "5m", "1h" or a number alone; None where it is none of them."""
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h|)", text.strip().lower())
    return float(match[1]) * _SECONDS[match[2]] if match else None


def epoch() -> int:
    """SOURCE_DATE_EPOCH (reproducible-builds.org/specs/source-date-epoch), 0 if not set. Raises UsageError."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "") or "0"
    if not text.isascii() or not text.isdigit() or int(text) >= 1 << 33:  # what a tar holds
        raise UsageError(f"SOURCE_DATE_EPOCH={text}: no number of seconds since 1970", hint="unset SOURCE_DATE_EPOCH")
    return int(text)
