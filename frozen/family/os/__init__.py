# SPDX-License-Identifier: MIT
"""frozen/lib/os, and what a VM has of it that begets others: in the place of that one, where a script names it."""

from uos import *

_attrs = {
    "path": "path",
    "environ": "environment",
    "makedirs": "trees",
    "removedirs": "trees",
    "replace": "trees",
    "walk": "trees",
    "fspath": "trees",
    "name": "constants",
    "linesep": "constants",
    "curdir": "constants",
    "pardir": "constants",
    "extsep": "constants",
    "pathsep": "constants",
    "SEEK_SET": "constants",
    "SEEK_CUR": "constants",
    "SEEK_END": "constants",
    "cpu_count": "constants",
    "fork": "family",
    "pipe": "family",
    "read": "family",
    "write": "family",
    "close": "family",
    "get_blocking": "family",
    "set_blocking": "family",
    "wait": "family",
    "waitpid": "family",
    "waitstatus_to_exitcode": "family",
    "kill": "family",
    "getpid": "family",
    "getppid": "family",
    "_exit": "family",
    "WNOHANG": "family",
    "WIFEXITED": "family",
    "WEXITSTATUS": "family",
    "WIFSIGNALED": "family",
    "WTERMSIG": "family",
}


def __getattr__(name):
    if name not in _attrs:
        raise AttributeError(name)
    value = __import__(_attrs[name], globals(), None, (name,), 1)
    globals()[name] = value = value if name == "path" else getattr(value, name)
    return value
