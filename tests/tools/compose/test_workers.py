# SPDX-License-Identifier: MIT
"""Threads that nobody leaves behind."""

import signal
import threading
import time

import pytest

from floe.compose.workers import Workers, finish


def test_work_is_done_when_an_interrupted_pool_is_left() -> None:
    done: list[int] = []

    def work(number: int) -> None:
        time.sleep(0.5)
        done.append(number)

    main = threading.get_ident()
    with pytest.raises(KeyboardInterrupt), Workers(2) as pool:
        futures = [pool.submit(work, number) for number in range(4)]
        for wait_s in (0.1, 0.2, 0.3):
            threading.Timer(wait_s, signal.pthread_kill, (main, signal.SIGINT)).start()
        futures[0].result()
    assert sorted(done) == [0, 1, 2, 3]


def test_an_error_of_the_work_is_its_futures() -> None:
    with Workers(1) as pool:
        future = pool.submit(int, "x")
        finish([future])
    with pytest.raises(ValueError, match="invalid literal"):
        future.result()
