# SPDX-License-Identifier: MIT
"""The exceptions of CPython's queue, for multiprocessing; an image runs one thread, which has collections.deque."""


class Empty(Exception):
    pass


class Full(Exception):
    pass
