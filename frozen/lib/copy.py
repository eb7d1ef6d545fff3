# SPDX-License-Identifier: MIT
"""Shallow and deep copies of containers and of objects of one's own classes."""

from ucollections import OrderedDict

_ATOMS = (type(None), bool, int, float, complex, str, bytes, range, slice, type, frozenset, type(len), type(...))


class Error(Exception):
    pass


error = Error


def _blank(x):
    """A new object of the same class that has no attributes and no items yet."""
    kind = type(x)
    try:
        if isinstance(x, (dict, list)):
            return kind()
        if not isinstance(x, (set, bytearray, bytes, str, int, float, tuple)):
            return object.__new__(kind)
        raise TypeError
    except TypeError:
        raise Error("cannot copy an object of class " + kind.__name__)


def _is_code(x):
    return type(x).__name__ in ("function", "closure", "generator", "bound_method", "module", "method")


def copy(x):
    if hasattr(x, "__copy__"):
        return x.__copy__()
    kind = type(x)
    if isinstance(x, type) or kind in _ATOMS or kind is tuple or _is_code(x):
        return x
    if kind in (list, set, bytearray, dict, OrderedDict):
        return kind(x)
    y = _blank(x)
    _fill(x, y, lambda value: value)
    return y


def _fill(x, y, copied):
    """Give y the items and attributes of x, each as copied() makes it."""
    if isinstance(x, list):
        for item in x:
            y.append(copied(item))
    elif isinstance(x, dict):
        for key, value in x.items():
            y[copied(key)] = copied(value)
    for name, value in getattr(x, "__dict__", {}).items():
        object.__setattr__(y, name, copied(value))


def deepcopy(x, memo=None):
    memo = {} if memo is None else memo
    if id(x) in memo:
        return memo[id(x)][0]
    kind = type(x)
    if hasattr(x, "__deepcopy__"):
        y = x.__deepcopy__(memo)
    elif isinstance(x, type) or kind in _ATOMS or _is_code(x):
        return x
    else:
        y = _deep(x, kind, memo)
    memo[id(x)] = (y, x)  # x too: its number must stay its own
    return y


def _deep(x, kind, memo):
    if kind is tuple:
        items = [deepcopy(item, memo) for item in x]
        if id(x) in memo:
            return memo[id(x)][0]
        return x if all(a is b for a, b in zip(items, x)) else tuple(items)
    if kind in (set, bytearray):
        return kind(x)
    y = _blank(x)
    memo[id(x)] = (y, x)
    _fill(x, y, lambda value: deepcopy(value, memo))
    return y
