# SPDX-License-Identifier: MIT
"""Functions chosen by the type of an argument, methods with arguments given before: singledispatch, partialmethod."""

from . import partial, update_wrapper


class singledispatch:
    def __init__(self, func):
        self.registry = {object: func}
        update_wrapper(self, func)

    def register(self, cls, func=None):
        if not isinstance(cls, type):
            raise TypeError("register() wants the class as its argument: annotations are not kept")
        if func is None:
            return lambda function: self.register(cls, function)
        self.registry[cls] = func
        return func

    def dispatch(self, cls):
        """The function of the nearest class that is registered."""
        if cls in self.registry:
            return self.registry[cls]
        nearest = object
        for known in self.registry:
            if issubclass(cls, known) and issubclass(known, nearest):
                nearest = known
        return self.registry[nearest]

    def __call__(self, *args, **keywords):
        if not args:
            raise TypeError("requires at least 1 positional argument")
        return self.dispatch(type(args[0]))(*args, **keywords)


class partialmethod:
    def __init__(self, func, *args, **keywords):
        self.func = func
        self.args = args
        self.keywords = keywords

    def __get__(self, instance, owner=None):
        if instance is None:
            return self
        return partial(partial(self.func, instance), *self.args, **self.keywords)
