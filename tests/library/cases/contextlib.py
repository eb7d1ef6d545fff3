# SPDX-License-Identifier: MIT
import asyncio
import contextlib
import io
import sys
from contextlib import (
    AsyncExitStack,
    ContextDecorator,
    ExitStack,
    aclosing,
    closing,
    contextmanager,
    nullcontext,
    suppress,
)  # fmt: skip


def tried(function, *args, **keywords):
    try:
        return function(*args, **keywords)
    except Exception as e:
        return type(e).__name__, e.args


@contextmanager
def tag(name):
    print("<%s>" % name)
    try:
        yield name.upper()
    except KeyError:
        print("caught")
    finally:
        print("</%s>" % name)


with tag("a") as got:
    print("in", got)
with tag("b"):
    raise KeyError("swallowed")


def fails():
    with tag("c"):
        raise ValueError("out")


print(tried(fails))


@tag("d")
def decorated(x):
    return x + 1


print(decorated(1), decorated(2))


@contextmanager
def none():
    if len(""):
        yield


@contextmanager
def twice():
    yield 1
    yield 2


@contextmanager
def changes():
    try:
        yield
    except ValueError:
        raise KeyError("other")


@contextmanager
def goes_on():
    try:
        yield
    except ValueError:
        yield


def use(manager, error=None):
    with manager:
        if error:
            raise error


print(tried(use, none()), "|", tried(use, twice()), "|", tried(use, changes(), ValueError()), "|")
print(tried(use, goes_on(), ValueError()), "|", tried(use, changes(), StopIteration("stop")))
with suppress(KeyError, IndexError):
    {}["x"]
with suppress(LookupError):
    [][1]
print(tried(use, suppress(KeyError), ValueError("not this")), tried(use, suppress()))


class Thing:
    def close(self):
        print("closed")

    async def aclose(self):
        print("aclosed")


with closing(Thing()) as thing:
    print(type(thing).__name__)
print(tried(use, closing(Thing()), OSError(5)))
with nullcontext(5) as five:
    print(five)


class Manager(ContextDecorator):
    def __init__(self, name, swallow=False, wrong=None):
        self.name, self.swallow, self.wrong = name, swallow, wrong

    def __enter__(self):
        print("enter", self.name)
        return self.name

    def __exit__(self, kind, error, trace):
        print("exit", self.name, kind and kind.__name__, error)
        if self.wrong:
            raise self.wrong
        return self.swallow


@Manager("decorator")
def inner():
    return "inner"


print(inner())
with ExitStack() as stack:
    print([stack.enter_context(Manager(n)) for n in "xyz"])
    print(stack.callback(print, "called", end="!\n") is print)
    stack.push(lambda *details: print("pushed", details))
with ExitStack() as stack:
    stack.enter_context(Manager("outer"))
    stack.enter_context(Manager("swallows", True))
    stack.push(Manager("object"))
    raise ValueError("v")


def stacked():
    with ExitStack() as stack:
        stack.enter_context(Manager("sees"))
        stack.enter_context(Manager("raises", wrong=OSError("new")))
        raise ValueError("old")


print(tried(stacked))
with ExitStack() as stack:
    stack.callback(print, "later")
    kept = stack.pop_all()
print("kept")
kept.close()


class Async:
    def __init__(self, name, swallow=False):
        self.name, self.swallow = name, swallow

    async def __aenter__(self):
        await asyncio.sleep(0)
        print("aenter", self.name)
        return self.name

    async def __aexit__(self, kind, error, trace):
        await asyncio.sleep(0)
        print("aexit", self.name, kind and kind.__name__)
        return self.swallow


async def called(*args):
    await asyncio.sleep(0)
    print("awaited", args)


async def main():
    async with AsyncExitStack() as stack:
        print(await stack.enter_async_context(Async("one")))
        stack.enter_context(Manager("sync"))
        stack.push_async_callback(called, 1, 2)
        stack.push_async_exit(Async("pushed", True))
        stack.callback(print, "plain")
        raise KeyError("k")
    async with aclosing(Thing()), nullcontext(3) as three:
        print(three)
    stack = AsyncExitStack()
    await stack.enter_async_context(Async("two"))
    await stack.aclose()


asyncio.run(main())


class Own(contextlib.AbstractContextManager):
    def __exit__(self, kind, error, trace):
        print("own", kind is None)


class AsyncOwn(contextlib.AbstractAsyncContextManager):
    async def __aexit__(self, kind, error, trace):
        print("async own", kind is None)


async def own():
    with Own() as a:
        async with AsyncOwn() as b:
            print(type(a).__name__, type(b).__name__)


asyncio.run(own())

out, inner, err = io.StringIO(), io.StringIO(), io.StringIO()
with contextlib.redirect_stdout(out) as same:
    print("kept", 1, sep="-", end="!")
    print("kept too", file=sys.stdout)
    with contextlib.redirect_stdout(inner), contextlib.redirect_stderr(err):
        print("within")
        print("trouble", file=sys.stderr)
        print("elsewhere", file=out)
    print("again")
    with contextlib.redirect_stdout(None):
        print("nowhere")
print(same is out, [out.getvalue(), inner.getvalue(), err.getvalue()])
try:
    with contextlib.redirect_stdout(io.StringIO()):
        print("not seen")
        raise KeyError
except KeyError:
    print("seen")
