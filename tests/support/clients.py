# SPDX-License-Identifier: MIT
"""Clients of a VM that forks, which this process has to serve meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from floe.testing import Guest

_WAIT_S = 60.0
T = TypeVar("T")


def served(vm: Guest, client: Callable[..., T], *args: object) -> T:
    """What a client comes to, in a thread of its own."""
    return vm.loop.run_until_complete(asyncio.wait_for(asyncio.to_thread(client, *args), _WAIT_S))
