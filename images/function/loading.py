# SPDX-License-Identifier: MIT
"""The handler's module."""

import sys

_NO_HANDLER = 3  # exit code


def load(name: str, wanted: str) -> object:
    """handler.py, whose code runs here, once. name: the image's. What is wrong with it ends the VM.

    wanted: the function that it must have."""
    try:
        import handler
    except Exception as exc:
        print("error %s: handler.py cannot be imported: %s: %s" % (name, type(exc).__name__, exc))
        sys.print_exception(exc)
        sys.exit(_NO_HANDLER)
    if not callable(getattr(handler, wanted, None)):
        names = [name for name in dir(handler) if name[0] != "_" and callable(getattr(handler, name))]
        there = ", ".join(sorted(names)) or "none"
        print("error %s: handler.py has no function %s(event, context); there is: %s" % (name, wanted, there))
        sys.exit(_NO_HANDLER)
    return handler
