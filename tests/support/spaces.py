# SPDX-License-Identifier: MIT
"""Namespaces for tests, which are skipped where this machine has none: those of floe.bench.spaces, and those that a
test makes itself, by `unshare -rn`, in which taps are its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator

import pytest

from floe.bench import spaces as own
from floe.bench.spaces import Space

__all__ = ["Space", "need_own_taps", "spaces"]


@contextlib.contextmanager
def spaces(*names: str) -> Iterator[list[Space]]:
    """As many namespaces, each with a tap; they end with the block. Needs root."""
    if why := own.why_none():
        pytest.skip(f"SKIP: {why}")
    with own.spaces(*names) as made:
        yield made


def need_own_taps() -> None:
    """For `unshare -rn` and a tap in there, as an ordinary user may have them."""
    if subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode:
        pytest.skip("SKIP: no right to make a network namespace")
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        pytest.skip("SKIP: no right to open /dev/net/tun")
