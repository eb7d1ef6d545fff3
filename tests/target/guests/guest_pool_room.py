# SPDX-License-Identifier: MIT
"""Pools whose workers end while there is no room for others: three children may be at a time."""

import errno
import os
import time
from multiprocessing import Pool, Process, ProcessError


def twice(n):
    return 2 * n


def sleeper():
    process = Process(target=time.sleep, args=(600,), daemon=True)
    process.start()
    return process


def gone(process):
    process.kill()
    process.join()


def loses_one(pool):
    """A worker ends at its work, and another VM has its place; which that is."""
    result = pool.apply_async(os._exit, (7,))
    [worker] = [worker for worker in pool._workers if worker.job]
    worker.process.join()
    other = sleeper()
    try:
        result.get()
        raise AssertionError
    except ProcessError as e:
        assert "ended with exit code 7" in str(e), e
    return other


def one_of_two():
    """The other one does the work; it is replaced once there is room."""
    with Pool(2) as pool:
        others = [sleeper()]
        others.append(loses_one(pool))
        assert pool.map(twice, range(8)) == [2 * n for n in range(8)]
        assert len(pool._workers) == 1
        gone(others.pop())
        time.sleep(1)
        assert pool.map(twice, range(8)) == [2 * n for n in range(8)]
        assert len(pool._workers) == 2
    for other in others:
        gone(other)


def the_only_one():
    """Whoever asks hears that nobody is there, and is served as soon as there is room."""
    with Pool(1) as pool:
        others = [sleeper(), sleeper()]
        others.append(loses_one(pool))
        for _ in range(2):
            try:
                pool.apply(twice, (2,))
                raise AssertionError
            except OSError as e:
                assert e.errno == errno.EAGAIN, e
        gone(others.pop())
        assert pool.apply(twice, (2,)) == 4
        assert not pool._waiting
    for other in others:
        gone(other)


one_of_two()
while True:  # terminate() asks for an end
    try:
        os.waitpid(-1, 0)
    except OSError:
        break
the_only_one()
print("= the end")
