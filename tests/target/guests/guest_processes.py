# SPDX-License-Identifier: MIT
"""multiprocessing where a VM differs from CPython, and what only CPython's sources promise."""

import asyncio
import gc
import multiprocessing
import os
import sys
import time
from multiprocessing import BoundedSemaphore, Event, Lock, Pipe, Pool, Process, ProcessError, Queue
from multiprocessing.connection import wait


def raised(function, *args):
    try:
        function(*args)
    except Exception as e:
        return e
    return None


class Thing:
    def method(self, n):
        return n


def twice(n):
    return 2 * n


def values():
    """What cannot travel is refused where it is sent, and says why."""
    r, w = Pipe(False)
    text = str(raised(w.send, [1, Thing()]))
    assert text == "cannot send a Thing to another VM: plain values travel only", text
    text = str(raised(w.send, lambda: 1))
    assert text.startswith("cannot send <lambda>: no module has it under a name"), text
    assert isinstance(raised(w.send, Thing().method), TypeError)
    assert not r.poll()
    w.send((twice, len, Thing, time.sleep_ms, KeyError("x", 1)))
    a, b, c, d, e = r.recv()
    assert (a, b, c, d) == (twice, len, Thing, time.sleep_ms) and type(e) is KeyError and e.args == ("x", 1)
    for end in (r, w):
        end.close()


# ---- locks -------------------------------------------------------------------------------------------


def competes(lock, go, done):
    go.wait()
    for _ in range(20):
        if lock.acquire(timeout=0.001):
            lock.release()
    done.put(lock.acquire(timeout=30))
    lock.release()


def timeouts():
    """Who has waited for a lock in vain leaves it to the others."""
    lock, go, done = Lock(), Event(), Queue()
    rivals = [Process(target=competes, args=(lock, go, done)) for _ in range(3)]
    for rival in rivals:
        rival.start()
    lock.acquire()
    go.set()
    time.sleep_ms(60)  # they give up, again and again
    lock.release()
    assert [done.get(timeout=60) for _ in rivals] == [True] * 3
    for rival in rivals:
        rival.join()
    assert lock.acquire(timeout=30)


def now_or_never():
    """What is there is taken at once, and what is not there is not, however quickly one asks again."""
    for _ in range(100):
        semaphore = BoundedSemaphore(2)
        assert [semaphore.acquire(False) for _ in range(3)] == [True, True, False]
        semaphore.release()
        assert semaphore.acquire(timeout=0.001) and not semaphore.acquire(timeout=0.001)
        assert semaphore.get_value() == 0


def many():
    """A queue of which several put and several get, with timeouts: each item comes once."""
    queue, results = Queue(), Queue()

    def puts(start):
        for n in range(start, start + 40):
            queue.put([n, "x" * (n * 37 % 6000)])

    def gets():
        count = 0
        while True:
            try:
                item = queue.get(timeout=0.002)
            except multiprocessing.queues.Empty:
                continue
            if item is None:
                break
            assert item[1] == "x" * (item[0] * 37 % 6000)
            results.put(item[0])
            count += 1

    getters = [Process(target=gets) for _ in range(3)]
    putters = [Process(target=puts, args=(100 * n,)) for n in range(3)]
    for process in getters + putters:
        process.start()
    got = sorted(results.get(timeout=60) for _ in range(120))
    assert got == sorted(100 * n + i for n in range(3) for i in range(40))
    for process in putters:
        process.join()
    for _ in getters:
        queue.put(None)
    for process in getters:
        process.join()
        assert process.exitcode == 0


def forgotten():
    """What nobody has any more is closed, and its other side meets the end."""
    for n in range(1200):
        r, w = Pipe(False)
        w.send(n)
        assert r.recv() == n
    r = half()
    for _ in range(200):
        gc.collect()
        if r.poll(0.05):
            break
    assert isinstance(raised(r.recv), EOFError)


def half():
    r, w = Pipe(False)
    w.send("some")
    assert r.recv() == "some"
    return r


# ---- ends --------------------------------------------------------------------------------------------


def dies(n):
    if n == 5:
        os._exit(9)
    return n


def lost():
    """A worker that ends at its work fails that work alone; another one takes its place."""
    with Pool(2) as pool:
        good = pool.map_async(twice, range(10))
        e = raised(pool.map, dies, range(10), 1)
        assert type(e) is ProcessError and "exit code 9" in str(e), e
        assert good.get(30) == [2 * n for n in range(10)]
        assert pool.map(twice, range(10)) == [2 * n for n in range(10)]
        assert len(multiprocessing.active_children()) == 2
    pool.join()
    assert multiprocessing.active_children() == []


def own_end():
    """A process whose end the script hears of by itself."""
    process = Process(target=time.sleep_ms, args=(1,))
    process.start()
    assert os.wait()[0] == process.pid
    assert not process.is_alive()
    process.join()


def says_when(connection, ms):
    time.sleep_ms(ms)
    connection.send(ms)
    time.sleep(60)


def waits():
    pairs, delays = [Pipe(False) for _ in range(3)], (60000, 10, 60000)
    processes = [Process(target=says_when, args=(w, ms)) for (_, w), ms in zip(pairs, delays)]  # noqa: B905 -- no `strict` here
    for process in processes:
        process.start()
    ends = [r for r, _ in pairs]
    assert wait(ends, 0.001) == [] or wait(ends) == [ends[1]]
    assert wait(ends) == [ends[1]] and ends[1].recv() == 10
    processes[2].kill()
    sentinels = [process.sentinel for process in processes]
    assert wait(sentinels) == [sentinels[2]]
    for process in processes:
        process.kill()
        process.join()
        assert process.exitcode == -9


# ---- asyncio -----------------------------------------------------------------------------------------


async def ticks(seen):
    while True:
        seen.append(1)
        await asyncio.sleep_ms(5)


def loops(connection):
    """A loop of its own, although its parent's was running when it was begotten."""

    async def main():
        await asyncio.sleep_ms(10)
        return 5

    connection.send(asyncio.run(main()))


def gives(queue, connection):
    for n in range(5):
        time.sleep_ms(15)
        queue.put(n)
        connection.send([n])


async def gets():
    """Two tasks get from one queue, another one receives."""
    queue, (r, w) = Queue(), Pipe(False)
    process = Process(target=gives, args=(queue, w))
    process.start()

    async def take(function, count, taken):
        for _ in range(count):
            taken.append(await function())

    got, received = [], []
    await asyncio.gather(take(queue.get_async, 3, got), take(queue.get_async, 2, got), take(r.recv_async, 5, received))
    assert sorted(got) == [0, 1, 2, 3, 4] and received == [[n] for n in range(5)]
    await process.join_async()
    assert process.exitcode == 0


def forks():
    """A child of os.fork() waits for the processes that it has started, at its end."""
    r, w = Pipe(False)
    pid = os.fork()
    if pid == 0:
        Process(target=gives, args=(Queue(), w)).start()
        sys.exit(4)
    assert os.waitpid(pid, 0) == (pid, 4 << 8)
    assert [r.recv() for _ in range(5)] == [[n] for n in range(5)]


async def tasks():
    """While children are waited for, the other tasks go on; a child has none of them."""
    seen = []
    ticking = asyncio.create_task(ticks(seen))
    r, w = Pipe(False)
    process = Process(target=loops, args=(w,))
    process.start()
    await process.join_async()
    assert process.exitcode == 0 and r.recv() == 5 and len(seen) > 1
    await gets()
    started = len(seen)
    with Pool(2) as pool:
        pending = [pool.apply_async(time.sleep_ms, (40,)) for _ in range(4)]
        for result in pending:
            assert await result.get_async() is None
        assert await pool.map_async(twice, range(8)).get_async() == [2 * n for n in range(8)]
    assert len(seen) > started
    sleepers = [Process(target=time.sleep, args=(60,)) for _ in range(2)]
    for sleeper in sleepers:
        sleeper.start()
    joined = [asyncio.create_task(sleeper.join_async()) for sleeper in sleepers]
    await asyncio.sleep_ms(20)
    assert not joined[0].done() and not joined[1].done()
    sleepers[1].kill()
    await joined[1]
    assert sleepers[1].exitcode == -9 and not joined[0].done()
    try:
        await asyncio.wait_for(joined[0], 0.02)
        raise AssertionError
    except asyncio.TimeoutError:
        pass
    sleepers[0].terminate()
    await sleepers[0].join_async()
    assert sleepers[0].exitcode == -15
    ticking.cancel()


def late():
    time.sleep_ms(100)
    print("joined at the end")


def endless():
    time.sleep(3600)
    print("never seen")


for part in (values, timeouts, now_or_never, many, forgotten, lost, own_end, waits, forks):
    part()
    print("=", part.__name__)
asyncio.run(tasks())
print("= tasks")
Process(target=late).start()
Process(target=endless, daemon=True).start()
print("= the script's end")
