# SPDX-License-Identifier: MIT
"""Tracebacks as text: MicroPython's own, with a file, a line and a function for each call, without the source."""

import io
import sys


def format_exception(exc, value=None, tb=None, limit=None, chain=True):
    """Takes an exception, or type, value and traceback as before Python 3.10."""
    error = exc if value is None else value
    if error is None:
        return ["NoneType: None\n"]
    text = io.StringIO()
    sys.print_exception(error, text)
    return [line + "\n" for line in text.getvalue().split("\n") if line]


def format_exception_only(exc, value=None):
    error = exc if value is None else value
    said = str(error)
    return ["{}{}\n".format(type(error).__name__, ": " + said if said else "")]


def print_exception(exc, value=None, tb=None, limit=None, file=None, chain=True):
    (file or sys.stderr).write("".join(format_exception(exc, value)))


def format_exc(limit=None, chain=True):
    return "".join(format_exception(sys.exc_info()[1]))


def print_exc(limit=None, file=None, chain=True):
    print_exception(sys.exc_info()[1], file=file)
