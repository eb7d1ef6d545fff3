# SPDX-License-Identifier: MIT
"""Results that are kept: lru_cache, cache and cached_property."""

from ucollections import OrderedDict, namedtuple

from . import partial, update_wrapper

_CacheInfo = namedtuple("CacheInfo", ("hits", "misses", "maxsize", "currsize"))


class _Cached:
    """A function and its results by arguments, the one asked for last at the end."""

    def __init__(self, function, maxsize, typed):
        self._function = function
        self._maxsize = maxsize
        self._typed = typed
        self.cache_clear()
        update_wrapper(self, function)

    def cache_clear(self):
        self._results = {} if self._maxsize is None else OrderedDict()
        self._hits = self._misses = 0

    def cache_info(self):
        return _CacheInfo(self._hits, self._misses, self._maxsize, len(self._results))

    def cache_parameters(self):
        return {"maxsize": self._maxsize, "typed": self._typed}

    def _key(self, args, keywords):
        key = args
        if keywords:
            key = (args, tuple(keywords.items()))
        if self._typed:
            key = (key, tuple(map(type, args)), tuple(map(type, keywords.values())))
        return key

    def __call__(self, *args, **keywords):
        key = self._key(args, keywords)
        results = self._results
        if key in results:
            self._hits += 1
            value = results[key]
            if self._maxsize is not None:
                del results[key]
                results[key] = value
            return value
        self._misses += 1
        value = self._function(*args, **keywords)
        if self._maxsize is None or self._maxsize > 0:
            results[key] = value
            if self._maxsize is not None and len(results) > self._maxsize:
                del results[next(iter(results))]
        return value

    def __get__(self, instance, owner=None):
        return self if instance is None else partial(self, instance)


def lru_cache(maxsize=128, typed=False):
    if callable(maxsize):
        return _Cached(maxsize, 128, False)
    if maxsize is not None:
        if not isinstance(maxsize, int):
            raise TypeError("Expected first argument to be an integer, a callable, or None")
        maxsize = max(maxsize, 0)
    return lambda function: _Cached(function, maxsize, typed)


def cache(function):
    return _Cached(function, None, False)


class cached_property:
    """Its value becomes an attribute of the object by the function's name."""

    def __init__(self, func):
        self.func = func

    def __get__(self, instance, owner=None):
        if instance is None:
            return self
        value = self.func(instance)
        object.__setattr__(instance, self.func.__name__, value)
        return value
