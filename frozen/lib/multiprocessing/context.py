# SPDX-License-Identifier: MIT
# How processes are started: by fork() alone.

import sys


def cpu_count():
    return 1  # of this VM; another one has its own


def _check(method):
    if method not in (None, "fork"):
        raise ValueError("cannot find context for '" + str(method) + "'")


def get_context(method=None):
    _check(method)
    return sys.modules["multiprocessing"]


def get_start_method(allow_none=False):
    return "fork"


def set_start_method(method, force=False):
    _check(method)
