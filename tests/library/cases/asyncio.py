# SPDX-License-Identifier: MIT
import asyncio


async def tried(aw):
    try:
        return await aw
    except (Exception, asyncio.CancelledError) as e:
        return type(e).__name__


def shown(x):
    return [type(x).__name__, list(x.args)] if isinstance(x, Exception) else x


async def queues():
    q = asyncio.Queue(maxsize=2)
    print(q.maxsize, q.empty(), q.full(), q.qsize())
    said = []

    async def producer():
        for i in range(5):
            await q.put(i)
            said.append(f"put {i}")

    async def consumer():
        while True:
            item = await q.get()
            said.append(f"got {item}")
            q.task_done()

    made, used = asyncio.create_task(producer()), asyncio.create_task(consumer())
    await made
    await q.join()
    used.cancel()
    print([s for s in said if s.startswith("got")], said[:2])
    q.put_nowait(1)
    q.put_nowait(2)
    for f in (lambda: q.put_nowait(3), q.get_nowait, q.get_nowait, q.get_nowait, q.task_done, q.task_done, q.task_done):
        try:
            print(f())
        except (asyncio.QueueFull, asyncio.QueueEmpty, ValueError) as e:
            print(type(e).__name__)
    print(await tried(asyncio.wait_for(q.get(), 0.01)), q.qsize())
    first, second = asyncio.create_task(q.get()), asyncio.create_task(q.get())
    await asyncio.sleep(0)
    q.put_nowait("handed on")
    first.cancel()
    print(await tried(first), await asyncio.wait_for(second, 5))
    q.put_nowait("kept")
    print(await q.get())
    p = asyncio.PriorityQueue()
    for item in ((3, "c"), (1, "a"), (2, "b")):
        p.put_nowait(item)
    print((await p.get(), await p.get(), await p.get()))
    s = asyncio.LifoQueue()
    for item in "abc":
        await s.put(item)
    print(await s.get(), await s.get(), await s.get())


async def locks():
    held = asyncio.Semaphore(2)
    most = now = 0
    order = []

    async def worker(n):
        nonlocal most, now
        async with held:
            now += 1
            most = max(most, now)
            order.append(n)
            await asyncio.sleep(0.005)
            now -= 1

    await asyncio.gather(*[worker(n) for n in range(6)])
    print(most, order, held.locked(), await held.acquire(), await held.acquire(), held.locked())
    late = asyncio.create_task(held.acquire())
    await asyncio.sleep(0)
    late.cancel()
    print(await tried(late))
    held.release()
    print(held.locked(), await asyncio.wait_for(held.acquire(), 1))
    chain = asyncio.Semaphore(0)  # who is cancelled when it has been woken hands its place on
    first, second = asyncio.create_task(chain.acquire()), asyncio.create_task(chain.acquire())
    await asyncio.sleep(0)
    chain.release()
    first.cancel()
    print(await tried(first), await asyncio.wait_for(second, 5), chain.locked())
    b = asyncio.BoundedSemaphore(1)
    try:
        b.release()
    except ValueError:
        print("ValueError")
    c = asyncio.Condition()
    items = []

    async def taker(n):
        async with c:
            await c.wait_for(lambda: items)
            return n, items.pop()

    takers = [asyncio.create_task(taker(n)) for n in range(2)]
    await asyncio.sleep(0)
    async with c:
        items.extend("xy")
        c.notify_all()
    print(await asyncio.gather(*takers), c.locked())
    try:
        c.notify()
    except RuntimeError:
        print("RuntimeError")

    async def waits():
        async with c:
            try:
                await c.wait()
            finally:
                print("has the lock again", c.locked())

    task = asyncio.create_task(waits())
    await asyncio.sleep(0)
    async with c:
        task.cancel()
        await asyncio.sleep(0)
    print(await tried(task), c.locked())


async def timeouts():
    try:
        async with asyncio.timeout(0.01) as t:
            await asyncio.sleep(5)
            print("not here")
    except TimeoutError:
        print("TimeoutError", t.expired())
    loop = asyncio.get_running_loop()
    now = loop.time()
    try:
        async with asyncio.timeout_at(now + 0.01) as t:
            print(abs(t.when() - now - 0.01) < 0.002)
            t.reschedule(None)
            await asyncio.sleep(0.03)
            t.reschedule(loop.time() - 1)
            await asyncio.sleep(5)
    except asyncio.TimeoutError:
        print("TimeoutError", t.expired(), loop.time() - now >= 0.025)
    async with asyncio.timeout(0) as t:
        print("awaits nothing")
    print(t.expired())
    try:
        async with t:
            pass
    except RuntimeError:
        print("RuntimeError")
    async with asyncio.timeout(5) as t:
        await asyncio.sleep(0)
    print(t.expired(), type(t) is asyncio.Timeout)
    async with asyncio.timeout(None):
        pass
    try:
        async with asyncio.timeout(5):
            try:
                async with asyncio.timeout(0.01):
                    await asyncio.sleep(5)
            except asyncio.TimeoutError:
                print("the inner one")
            await asyncio.sleep(0.01)
            print("goes on")
    except asyncio.TimeoutError:
        print("not the outer one")
    try:
        async with asyncio.timeout(5):
            raise KeyError("own")
    except KeyError:
        print("KeyError")

    async def slow():
        async with asyncio.timeout(5):
            await asyncio.sleep(5)

    task = asyncio.create_task(slow())
    await asyncio.sleep(0)
    task.cancel()
    print(await tried(task))


async def groups():
    said = []

    async def work(n, fail=False):
        try:
            await asyncio.sleep(0.005 * n)
            if fail:
                raise ValueError(n)
            said.append(n)
            return n * 10
        except asyncio.CancelledError:
            said.append("cancelled %d" % n)
            raise

    async with asyncio.TaskGroup() as tg:
        a = tg.create_task(work(2))
        tg.create_task(work(1))
    print(said, await a)
    said.clear()
    try:
        async with asyncio.TaskGroup() as tg:
            tg.create_task(work(1, True))
            tg.create_task(work(400))
            await asyncio.sleep(5)
            print("not here")
    except Exception as e:
        print(type(e).__name__, [shown(x) for x in e.exceptions], said)
    said.clear()
    try:
        async with asyncio.TaskGroup() as tg:
            tg.create_task(work(400))
            await asyncio.sleep(0)
            raise KeyError("body")
    except Exception as e:
        print(type(e).__name__, [type(x).__name__ for x in e.exceptions], said)
    said.clear()

    async def all_of_it():
        async with asyncio.TaskGroup() as tg:
            tg.create_task(work(400))

    task = asyncio.create_task(all_of_it())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    print(await tried(task), said)
    late = work(1)
    try:
        tg.create_task(late)
    except RuntimeError:
        print("RuntimeError")
    late.close()
    said.clear()
    try:  # the second never gets to its first line
        async with asyncio.TaskGroup() as tg:
            tg.create_task(work(400))
            raise KeyError("at once")
    except ExceptionGroup as e:
        print(e.message, "|", str(e), len(e.exceptions), said)
        some, rest = e.split(KeyError)
        print(
            len(some.exceptions),
            rest,
            e.subgroup(ValueError),
            e.subgroup(lambda x: isinstance(x, KeyError)) is not None,
        )

    async def fails(error, n=0):
        try:
            await asyncio.sleep(0.005 * n)
        finally:
            if error is not None:
                raise error

    try:  # each error is in it, the body's own comes last
        async with asyncio.TaskGroup() as tg:
            tg.create_task(fails(ValueError(1), 400))
            tg.create_task(fails(OSError(2), 400))
            await asyncio.sleep(0)
            raise KeyError(3)
    except ExceptionGroup as e:
        print(sorted(type(x).__name__ for x in e.exceptions), type(e.exceptions[-1]).__name__)
        print(len(e.split((ValueError, OSError))[0].exceptions), e.split(Exception) == (e, None))
    async with asyncio.TaskGroup() as tg:  # a task of the group awaited in it, and one that makes another
        first = tg.create_task(work(1))
        print(await first)

        async def maker():
            return await tg.create_task(work(2))

        second = tg.create_task(maker(), name="maker")
    print(await second)
    try:
        async with asyncio.TaskGroup() as tg:
            inner = tg.create_task(fails(ValueError(5)))
            try:
                await inner
            except ValueError:
                await asyncio.sleep(5)
                print("not here")
    except ExceptionGroup as e:
        print([shown(x) for x in e.exceptions])
    print(await tried(inner))
    try:
        async with asyncio.TaskGroup() as tg:
            async with asyncio.TaskGroup() as below:
                below.create_task(fails(ValueError(6)))
    except ExceptionGroup as e:
        print([[shown(x) for x in g.exceptions] for g in e.exceptions])
    async with asyncio.timeout(5):
        async with asyncio.TaskGroup() as tg:
            lone = tg.create_task(work(400))
            await asyncio.sleep(0)
            lone.cancel()  # one that is cancelled alone stops nobody
            tg.create_task(work(1))
    print(await tried(lone))
    try:
        async with asyncio.timeout(0.01):
            async with asyncio.TaskGroup() as tg:
                tg.create_task(work(400))
    except TimeoutError:
        print("TimeoutError")


async def gathering():
    async def work(n, fail=None):
        await asyncio.sleep(0.005 * n)
        if fail:
            raise fail
        return n

    print(await asyncio.gather(work(3), work(1), asyncio.create_task(work(2))), await asyncio.gather())
    print([shown(x) for x in await asyncio.gather(work(1), work(0, ValueError(2)), return_exceptions=True)])
    other = asyncio.create_task(work(400))
    try:
        await asyncio.gather(work(1, KeyError(1)), other)
    except KeyError:
        print("KeyError", other.done(), other.cancel(), await tried(other))
    one, two = asyncio.create_task(work(400)), asyncio.create_task(work(400))

    async def all_of_them():
        await asyncio.gather(one, two)

    task = asyncio.create_task(all_of_them())
    await asyncio.sleep(0)
    task.cancel()
    print(await tried(task), await tried(one), await tried(two))
    print(await asyncio.wait_for(work(1), 5), await tried(asyncio.wait_for(work(400), 0.005)))
    lock, event = asyncio.Lock(), asyncio.Event()
    said = []

    async def holder(n):
        await event.wait()
        async with lock:
            said.append(n)
            await asyncio.sleep(0)
            said.append(-n)

    holders = [asyncio.create_task(holder(n)) for n in (1, 2, 3)]
    await asyncio.sleep(0)
    print(event.is_set(), lock.locked())
    event.set()
    await asyncio.gather(*holders)
    print(said, lock.locked(), event.is_set(), asyncio.current_task() is not None)


async def waiting():
    async def work(n, fail=False):
        await asyncio.sleep(0.01 * n)
        if fail:
            raise ValueError
        return n

    tasks = [asyncio.create_task(work(n)) for n in (1, 500)]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    print(len(done), len(pending), tasks[0] in done, await tasks[0], [t.cancel() for t in pending])
    done, pending = await asyncio.wait(tasks)
    print(len(done), len(pending), await tried(tasks[1]))
    done, pending = await asyncio.wait([asyncio.create_task(work(500))], timeout=0.01)
    print(len(done), len(pending), [t.cancel() for t in pending])
    tasks = [asyncio.create_task(work(1, True)), asyncio.create_task(work(500))]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    print(len(done), len(pending), await tried(tasks[0]), [t.cancel() for t in pending])
    done, pending = await asyncio.wait([asyncio.create_task(work(400)) for _ in range(2)], timeout=0)
    for task in pending:
        task.cancel()
    print(len(done), [type(x).__name__ for x in await asyncio.gather(*pending, return_exceptions=True)])
    shared = asyncio.create_task(work(1))
    waiter = asyncio.create_task(tried(shared))
    await asyncio.sleep(0)
    done, pending = await asyncio.wait([shared], return_when=asyncio.ALL_COMPLETED)  # which another task awaits
    print(len(done), len(pending), await waiter, await shared)
    for bad in (lambda: asyncio.wait([]), lambda: asyncio.wait([shared], return_when="SOON")):
        print(await tried(bad()))
    unused = work(1)
    print(await tried(asyncio.wait([unused])))
    unused.close()
    said = []
    for aw in asyncio.as_completed([work(3), work(1), work(2)]):
        said.append(await aw)
    print(said)
    said.clear()
    for aw in asyncio.as_completed([work(0), work(400)], timeout=0.03):
        said.append(await tried(aw))
    print(said)
    coro = work(0)
    print(
        asyncio.get_running_loop() is asyncio.get_event_loop(),
        asyncio.iscoroutine(5),
        asyncio.iscoroutine(coro),
        await coro,
    )


class Count:
    """What an async generator would be."""

    def __init__(self, end):
        self.n = 0
        self.end = end

    def __aiter__(self):
        return self

    async def __anext__(self):
        await asyncio.sleep(0)
        if self.n == self.end:
            raise StopAsyncIteration
        self.n += 1
        return self.n


async def iterating():
    found = []
    async for n in Count(3):
        found.append(n)
    print(found)


async def main():
    for part in (queues, locks, timeouts, groups, gathering, waiting, iterating):
        print("--")
        await part()
    return "the end"


print(asyncio.run(main()))
