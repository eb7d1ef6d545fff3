# SPDX-License-Identifier: MIT
"""What is known of modules by their names: what helps where one is not there, and when MicroPython's own is enough."""

from __future__ import annotations

# What to use instead of CPython modules that people reach for; behind "nothing: ", why there is nothing.
INSTEAD = {
    "threading": "asyncio: an image runs one thread",
    "concurrent": "asyncio",
    "queue": "asyncio.Queue, or collections.deque",
    "sched": "asyncio, or heapq",
    "subprocess": "nothing: there are no processes in an image; more VMs, by multiprocessing",
    "urllib.request": "requests",
    "urllib.error": "requests",
    "http": "asyncio.start_server, or microdot pinned under [packages]",
    "xmlrpc": "requests and json",
    "smtplib": "asyncio.open_connection",
    "socketserver": "asyncio.start_server",
    "logging.config": "logging.basicConfig",
    "calendar": "datetime",
    "zoneinfo": "datetime.timezone",
    "sqlite3": "json",
    "pickle": "json",
    "shelve": "json and a file",
    "configparser": "tomllib",
    "zlib": "deflate",
    "gzip": "deflate",
    "ctypes": "uctypes",
    "decimal": "int, in units small enough",
    "fractions": "a pair of int",
    "inspect": "nothing: an image does not keep what it would look at",
    "weakref": "plain references, and close() or a with statement",
    "contextvars": "arguments",
    "unicodedata": "nothing: an image has no table of characters",
    "locale": "nothing: an image has no languages",
    "getpass": "floe.secret(), with floe run --secret",
    "doctest": "unittest",
    "pytest": "unittest in the VM, or floe.testing on the host",
    "timeit": "time.perf_counter",
}

# Imports that never fail: what stands in `except ImportError` for them is not imported.
SURE = {("sys", "print_exception")}

_ENCODES = ("indent", "sort_keys", "default", "ensure_ascii", "allow_nan", "skipkeys", "check_circular", "cls", "**")
_DECODES = ("object_hook", "object_pairs_hook", "**")

# What MicroPython's C module has by a name that a module of frozen/lib has too: it is enough while nobody names one of
# these attributes or calls "f(with this keyword)", and of PLAIN, while it is only called, with two or three arguments
# by position.
ENOUGH = {
    ("collections", "OrderedDict"): {"move_to_end", "popitem"},
    ("collections", "deque"): {"extendleft", "maxlen", "rotate"},
    ("collections", "namedtuple"): {"_asdict", "_field_defaults", "_fields", "_make", "_replace"},
    **{("json", name): {f"{name}({keyword})" for keyword in _ENCODES} for name in ("dump", "dumps")},
    **{
        ("json", name): {"JSONDecodeError", *(f"{name}({keyword})" for keyword in _DECODES)}
        for name in ("load", "loads")
    },
}
# What a dev image has only if its script names it: its compiler makes OrderedDict({...}) of the C module's alone.
ON_REQUEST = {"collections/ordered.py"}
PLAIN = {("collections", "deque"), ("collections", "namedtuple")}
