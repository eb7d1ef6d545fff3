# SPDX-License-Identifier: MIT
"""CPython's contextlib."""

_attrs = {"redirect_stdout": "redirect", "redirect_stderr": "redirect"}


def __getattr__(name):
    if name not in _attrs:
        raise AttributeError(name)
    globals()[name] = value = getattr(__import__(_attrs[name], globals(), None, (name,), 1), name)
    return value


class AbstractContextManager:
    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        return None


class AbstractAsyncContextManager:
    async def __aenter__(self):
        return self

    async def __aexit__(self, kind, error, trace):
        return None


class ContextDecorator:
    def _recreate_cm(self):
        return self

    def __call__(self, function):
        def inner(*args, **keywords):
            with self._recreate_cm():
                return function(*args, **keywords)

        return inner


class _Generated(ContextDecorator):
    """What contextmanager() makes of a generator function, each time it is called."""

    def __init__(self, function, args, keywords):
        self._made_by = (function, args, keywords)
        self._generator = function(*args, **keywords)

    def _recreate_cm(self):
        return _Generated(*self._made_by)

    def __enter__(self):
        try:
            return next(self._generator)
        except StopIteration:
            raise RuntimeError("generator didn't yield")

    def __exit__(self, kind, error, trace):
        try:
            if kind is None:
                next(self._generator)
            else:
                self._generator.throw(kind() if error is None else error)
        except StopIteration as e:
            return kind is not None and e is not error
        except BaseException as e:
            # A StopIteration that leaves a generator becomes a RuntimeError.
            if e is error or (isinstance(error, StopIteration) and isinstance(e, RuntimeError)):
                return False
            raise
        raise RuntimeError("generator didn't stop after throw()" if kind else "generator didn't stop")


def contextmanager(function):
    return lambda *args, **keywords: _Generated(function, args, keywords)


class suppress(AbstractContextManager):
    def __init__(self, *exceptions):
        self._exceptions = exceptions

    def __exit__(self, kind, error, trace):
        return kind is not None and issubclass(kind, self._exceptions)


class closing(AbstractContextManager):
    def __init__(self, thing):
        self.thing = thing

    def __enter__(self):
        return self.thing

    def __exit__(self, kind, error, trace):
        self.thing.close()


class aclosing(AbstractAsyncContextManager):
    def __init__(self, thing):
        self.thing = thing

    async def __aenter__(self):
        return self.thing

    async def __aexit__(self, kind, error, trace):
        await self.thing.aclose()


class nullcontext(AbstractContextManager):
    def __init__(self, enter_result=None):
        self.enter_result = enter_result

    def __enter__(self):
        return self.enter_result

    async def __aenter__(self):
        return self.enter_result

    async def __aexit__(self, kind, error, trace):
        return None


class _Stack:
    """What is to be ended, the last one first: pairs of whether it must be awaited, and a function like __exit__."""

    def __init__(self):
        self._exits = []

    def pop_all(self):
        other = type(self)()
        other._exits, self._exits = self._exits, []
        return other

    def enter_context(self, manager):
        result = manager.__enter__()
        self._exits.append((False, manager.__exit__))
        return result

    def push(self, exit):
        self._exits.append((False, getattr(exit, "__exit__", exit)))
        return exit

    def callback(self, function, *args, **keywords):
        self._exits.append((False, lambda kind, error, trace: function(*args, **keywords) and None))
        return function


def _kind(error):
    return None if error is None else type(error)


class ExitStack(_Stack, AbstractContextManager):
    def close(self):
        self.__exit__(None, None, None)

    def __exit__(self, kind, error, trace):
        given = error
        while self._exits:
            _, exit = self._exits.pop()
            try:
                if exit(_kind(error), error, trace):
                    error = None
            except BaseException as e:
                error = e
        if error is not None and error is not given:
            raise error
        return given is not None and error is None


class AsyncExitStack(_Stack, AbstractAsyncContextManager):
    async def enter_async_context(self, manager):
        result = await manager.__aenter__()
        self._exits.append((True, manager.__aexit__))
        return result

    def push_async_exit(self, exit):
        self._exits.append((True, getattr(exit, "__aexit__", exit)))
        return exit

    def push_async_callback(self, function, *args, **keywords):
        async def call(kind, error, trace):
            await function(*args, **keywords)

        self._exits.append((True, call))
        return function

    async def aclose(self):
        await self.__aexit__(None, None, None)

    async def __aexit__(self, kind, error, trace):
        given = error
        while self._exits:
            awaited, exit = self._exits.pop()
            try:
                said = exit(_kind(error), error, trace)
                if await said if awaited else said:
                    error = None
            except BaseException as e:
                error = e
        if error is not None and error is not given:
            raise error
        return given is not None and error is None
