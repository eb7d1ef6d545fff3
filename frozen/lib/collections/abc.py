# SPDX-License-Identifier: MIT
"""Names for annotations. Nothing can be asked of them at run time: isinstance() and subclasses raise TypeError."""


class _Interface:
    def __init__(self, name, bases=None, namespace=None):
        if bases is not None:
            raise TypeError("interfaces of collections.abc are no base classes here: they bring no methods")
        self.__name__ = name

    def __getitem__(self, item):
        return self

    def __or__(self, other):
        return self

    __ror__ = __or__

    def __repr__(self):
        return "collections.abc." + self.__name__


_NAMES = (
    "Container Hashable Iterable Iterator Reversible Generator Sized Callable Collection Sequence MutableSequence "
    "ByteString Set MutableSet Mapping MutableMapping MappingView ItemsView KeysView ValuesView Awaitable Coroutine "
    "AsyncIterable AsyncIterator AsyncGenerator Buffer"
)


def __getattr__(name):
    if name not in _NAMES.split():
        raise AttributeError(name)
    globals()[name] = value = _Interface(name)
    return value
