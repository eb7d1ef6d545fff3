# SPDX-License-Identifier: MIT
"""What can be called: kinds that MicroPython has several types for, so that each name is a tuple for isinstance()."""


def _generate():
    yield


def _plain(x):
    return lambda: x


FunctionType = LambdaType = (type(_generate), type(_plain), type(_plain(0)))
BuiltinFunctionType = tuple([type(f) for f in (len, print, id, abs, sum, isinstance, sorted)])
GeneratorType = CoroutineType = type(_generate())
