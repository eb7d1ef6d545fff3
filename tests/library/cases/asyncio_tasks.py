# SPDX-License-Identifier: MIT
import asyncio


async def work(n, fail=None):
    await asyncio.sleep(0.005 * n)
    if fail:
        raise fail
    return n


def tried(f, *args):
    try:
        return f(*args)
    except (Exception, asyncio.CancelledError) as e:
        return type(e).__name__


async def tasks():
    task = asyncio.create_task(work(1), name="mine")
    said = []
    task.add_done_callback(lambda t: said.append((t is task, t.done(), t.result())))
    try:
        task.result()
    except asyncio.InvalidStateError:
        print("InvalidStateError")
    print(task.get_name(), tried(task.result), tried(task.exception), task.cancelled(), task.done())
    task.set_name("other")
    print(await task, task.get_name(), task.result(), task.exception(), task.cancelled(), await task)
    await asyncio.sleep(0)
    print(said)
    task.add_done_callback(lambda t: said.append("at once"))
    print(len(said))
    await asyncio.sleep(0)
    print(said[-1], asyncio.current_task().get_name() == "main", asyncio.iscoroutine(task.get_coro()))
    failing = asyncio.create_task(work(0, ValueError("v")))
    failing.add_done_callback(lambda t: said.append(repr(type(t.exception()).__name__)))
    done, pending = await asyncio.wait([failing])
    await asyncio.sleep(0)
    print(said[-1], tried(failing.result), type(failing.exception()).__name__, failing.cancelled(), failing in done)
    for _ in range(3):  # whoever asks again gets it again
        try:
            await failing
        except ValueError as e:
            print(e)
        await asyncio.sleep(0)
    cancelled = asyncio.create_task(work(400))
    cancelled.add_done_callback(lambda t: said.append(t.cancelled()))
    await asyncio.sleep(0)
    cancelled.cancel()
    try:
        await cancelled
    except asyncio.CancelledError:
        await asyncio.sleep(0)
        print(cancelled.cancelled(), tried(cancelled.result), tried(cancelled.exception), said[-1])
    never = asyncio.create_task(work(400))
    never.cancel()
    await asyncio.wait([never])
    print(never.cancelled(), never.done())
    f = said.append
    quiet = asyncio.create_task(work(0))
    quiet.add_done_callback(f)
    quiet.add_done_callback(f)
    print(quiet.remove_done_callback(f), quiet.remove_done_callback(f))
    await quiet
    background = set()
    for n in range(3):
        t = asyncio.create_task(work(n))
        background.add(t)
        t.add_done_callback(background.discard)
    while background:
        await asyncio.sleep(0.001)
    print("all gone", await asyncio.gather(*[asyncio.ensure_future(work(n)) for n in (2, 1)]))
    async with asyncio.TaskGroup() as tg:
        a, b = tg.create_task(work(1), name="a"), tg.create_task(work(2))
    print(a.get_name(), a.result(), b.result())
    print(tried(asyncio.create_task, 5))


async def futures():
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    said = []
    future.add_done_callback(lambda f: said.append(f.result()))
    loop.call_soon(future.set_result, "set")
    print(
        future.done(),
        tried(future.result),
        await future,
        future.done(),
        future.result(),
        future.exception(),
        await future,
    )
    await asyncio.sleep(0)
    print(said, tried(future.set_result, 2), future.cancel(), future.cancelled())
    future = asyncio.Future()
    loop.call_later(0.005, future.set_exception, KeyError("k"))
    try:
        await asyncio.wait_for(future, 5)
    except KeyError as e:
        print(e.args, type(future.exception()).__name__, tried(future.result))
    future = loop.create_future()
    try:
        await asyncio.wait_for(future, 0.005)
    except asyncio.TimeoutError:
        print("TimeoutError", future.cancelled())
    future = loop.create_future()
    both = asyncio.gather(future, work(1))
    future.set_result("first")
    print(await both)
    future = loop.create_future()
    print(future.cancel(), future.cancelled(), tried(future.result))


async def timers():
    loop = asyncio.get_running_loop()
    said = []
    over = asyncio.Event()
    now = loop.time()
    loop.call_later(0.02, said.append, "later")
    loop.call_later(0.01, said.append, "sooner")
    loop.call_soon(said.append, "now")
    handle = loop.call_later(0.015, said.append, "not this")
    print(handle.cancelled(), handle.cancel(), handle.cancelled(), abs(handle.when() - now - 0.015) < 5)
    loop.call_at(now + 0.03, over.set)
    await over.wait()
    print(said, loop.time() - now >= 0.025)


async def shields():
    go_on = asyncio.Event()
    inner = asyncio.create_task(go_on.wait())

    async def outer():
        return await asyncio.shield(inner)

    task = asyncio.create_task(outer())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        print("outer cancelled", inner.done(), go_on.set(), await inner, await asyncio.shield(work(0)))
    try:
        await asyncio.shield(asyncio.create_task(work(0, KeyError())))
    except KeyError:
        print("KeyError")


async def main():
    asyncio.current_task().set_name("main")
    for part in (tasks, futures, timers, shields):
        print("--")
        await part()
    return "the end"


print(asyncio.run(main()))
