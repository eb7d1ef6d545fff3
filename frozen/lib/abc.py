# SPDX-License-Identifier: MIT
"""Abstract base classes: a class that derives from ABC makes no object while one of its methods is abstract."""

_abstract = set()  # functions
_complete = set()  # classes that were looked at


def abstractmethod(function):
    _abstract.add(function)
    return function


def _is_abstract(value):
    try:
        return value in _abstract
    except TypeError:  # has no hash, so it is no function
        return False


def _missing(cls):
    """Names of the abstract methods of a class and its bases that nothing below them defines anew."""
    names = [name for name, value in cls.__dict__.items() if _is_abstract(value)]
    for base in cls.__bases__:
        names += [name for name in _missing(base) if _is_abstract(getattr(cls, name))]
    return names


class ABC:
    def __new__(cls, *args, **keywords):
        if cls not in _complete:
            missing = sorted(set(_missing(cls)))
            if missing:
                text = "Can't instantiate abstract class {} without an implementation for {}"
                raise TypeError(text.format(cls.__name__, ", ".join(missing)))
            _complete.add(cls)
        return object.__new__(cls)
