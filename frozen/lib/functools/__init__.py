# SPDX-License-Identifier: MIT
"""CPython's functools. A function of MicroPython's takes no attributes, so that wraps() cannot name it anew."""

_attrs = {
    "lru_cache": "caching",
    "cache": "caching",
    "cached_property": "caching",
    "cmp_to_key": "ordering",
    "total_ordering": "ordering",
    "singledispatch": "dispatch",
    "partialmethod": "dispatch",
}

WRAPPER_ASSIGNMENTS = ("__module__", "__name__", "__qualname__", "__doc__")
WRAPPER_UPDATES = ()


def __getattr__(name):
    if name not in _attrs:
        raise AttributeError(name)
    value = getattr(__import__(_attrs[name], globals(), None, (name,), 1), name)
    globals()[name] = value
    return value


def update_wrapper(wrapper, wrapped, assigned=WRAPPER_ASSIGNMENTS, updated=WRAPPER_UPDATES):
    """Give an object with __call__ the wrapped function's names; a function stays as it is."""
    try:
        wrapper.__wrapped__ = wrapped
        for name in assigned:
            if hasattr(wrapped, name):
                setattr(wrapper, name, getattr(wrapped, name))
    except AttributeError:
        pass
    return wrapper


def wraps(wrapped, assigned=WRAPPER_ASSIGNMENTS, updated=WRAPPER_UPDATES):
    return lambda wrapper: update_wrapper(wrapper, wrapped, assigned, updated)


class partial:
    def __init__(self, func, *args, **keywords):
        if not callable(func):
            raise TypeError("the first argument must be callable")
        if isinstance(func, partial):
            args = func.args + args
            keywords = _joined(func.keywords, keywords)
            func = func.func
        self.func = func
        self.args = args
        self.keywords = keywords

    def __call__(self, *args, **keywords):
        return self.func(*self.args, *args, **_joined(self.keywords, keywords))


def _joined(one, two):
    both = dict(one)
    both.update(two)
    return both


_NOTHING = object()


def reduce(function, iterable, initial=_NOTHING):
    iterator = iter(iterable)
    if initial is _NOTHING:
        try:
            initial = next(iterator)
        except StopIteration:
            raise TypeError("reduce() of empty iterable with no initial value")
    for item in iterator:
        initial = function(initial, item)
    return initial
