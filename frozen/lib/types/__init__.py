# SPDX-License-Identifier: MIT
"""Names of built-in types."""

import sys

_attrs = {
    "BuiltinFunctionType": "code",
    "CoroutineType": "code",
    "FunctionType": "code",
    "GeneratorType": "code",
    "LambdaType": "code",
    "MappingProxyType": "object",
    "SimpleNamespace": "object",
}


def __getattr__(name):
    if name not in _attrs:
        raise AttributeError(name)
    return getattr(__import__(_attrs[name], globals(), None, (name,), 1), name)


MethodType = type([].append)
ModuleType = type(sys)
NoneType = type(None)
