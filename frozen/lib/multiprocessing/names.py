# SPDX-License-Identifier: MIT
# Functions and classes by name: module and attribute, under which each VM of a family has its own copy.

import builtins
import sys

_MODULE = type(sys)
_names = {}  # of what was found


def name_of(thing):
    """(module, name). Raises TypeError for what no module has under a name, as a lambda within a call."""
    try:
        found = _names.get(thing)
    except TypeError:  # it has no hash
        found = None
    if found is None or not _is(thing, *found):
        found = _home(thing) or _search(thing)
        if found is None:
            called = getattr(thing, "__name__", None) or str(thing)
            raise TypeError(
                "cannot send " + called + ": no module has it under a name that another VM could find it by"
            )
        _names[thing] = found
    return found


def find(module, name):
    """What is meant by a name here. Raises AttributeError, ImportError."""
    place = builtins if module == "builtins" else sys.modules.get(module)
    if place is None:
        place = __import__(module)
        for part in module.split(".")[1:]:
            place = getattr(place, part)
    return getattr(place, name)


def _is(thing, module, name):
    try:
        return find(module, name) is thing
    except (AttributeError, ImportError):
        return False


def _home(thing):
    """Where it was defined, if it still has its name there."""
    name = getattr(thing, "__name__", None)
    if isinstance(thing, type):
        module = getattr(thing, "__module__", "builtins")
    else:
        module = getattr(thing, "__globals__", {}).get("__name__")
    return (module, name) if name and module and _is(thing, module, name) else None


def _search(thing):
    """In all modules that are reached from here."""
    found = [__import__("__main__"), builtins]
    found += [module for module in sys.modules.values() if module not in found]
    for module in found:
        for name, value in list(module.__dict__.items()):
            if value is thing and module.__name__ != __name__ and _is(thing, module.__name__, name):
                return module.__name__, name
            if type(value) is _MODULE and value not in found:
                found.append(value)
    return None
