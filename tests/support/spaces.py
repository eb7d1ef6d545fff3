# SPDX-License-Identifier: MIT
"""Namespaces of floe.bench.spaces for tests, which are skipped where this machine has none."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from floe.bench import spaces as own
from floe.bench.spaces import Space

__all__ = ["Space", "spaces"]


@contextlib.contextmanager
def spaces(*names: str) -> Iterator[list[Space]]:
    """As many namespaces, each with a tap; they end with the block. Needs root."""
    if why := own.why_none():
        pytest.skip(f"SKIP: {why}")
    with own.spaces(*names) as made:
        yield made
