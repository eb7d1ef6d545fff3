# SPDX-License-Identifier: MIT
"""NamedTuple and TypedDict: what a class statement with one of them makes."""

from collections import namedtuple


class _NamedTuple:
    def __new__(cls, name, fields=None, namespace=None):
        if fields is None:
            return object.__new__(cls)
        if namespace is None:
            return namedtuple(name, [field for field, _ in fields])
        if len(fields) > 1:
            raise TypeError("NamedTuple takes no other base class")
        annotated = namespace.pop("__annotated__", ())
        names = [annotated[i] for i in range(0, len(annotated), 2)]
        optional = [field for field in names if field in namespace]
        if names[len(names) - len(optional) :] != optional:
            raise TypeError("a field without a default cannot follow one that has a default")
        base = namedtuple(name, names, defaults=[namespace.pop(field) for field in optional])
        return type(name, (base,), namespace)


class _TypedDict:
    def __new__(cls, name, fields=None, namespace=None):
        return object.__new__(cls) if fields is None else dict


NamedTuple = _NamedTuple("NamedTuple")
TypedDict = _TypedDict("TypedDict")
_TypedDict.__call__ = lambda self, name, fields, total=True: dict
_NamedTuple.__call__ = lambda self, name, fields: namedtuple(name, [field for field, _ in fields])
