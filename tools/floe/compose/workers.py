# SPDX-License-Identifier: MIT
"""Threads that nobody leaves behind: Ctrl-C ends the wait for a thread, but not the thread."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Any

_LOOK_S = 0.5


class Workers(ThreadPoolExecutor):
    """A pool that has done all its work when it is left, also by KeyboardInterrupt, and by a second one meanwhile.

    ThreadPoolExecutor joins its threads, and a join that is interrupted takes a thread that still runs for one that
    has ended (bpo-45274): what follows would meet it at work.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self._futures: list[Future[Any]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future = super().submit(fn, *args, **kwargs)
        self._futures.append(future)
        return future

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        finish(self._futures)
        super().__exit__(kind, error, trace)


def finish(futures: Iterable[Future[Any]]) -> None:
    """Wait until all have ended, whatever they raise; KeyboardInterrupt does not end it."""
    left = set(futures)
    while left:
        with contextlib.suppress(KeyboardInterrupt):
            left = wait(left, _LOOK_S).not_done
