# SPDX-License-Identifier: MIT
"""multiprocessing, run by CPython and in a VM: lines that begin with "= " are the same. Children print none of them."""

import multiprocessing
import os
import sys
import time
from multiprocessing import Event, Lock, Pipe, Pool, Process, Queue, SimpleQueue
from queue import Empty, Full

VALUES = (
    None,
    True,
    False,
    0,
    -1,
    255,
    -256,
    2**63,
    -(2**63) - 1,
    7**300,
    -(7**300),
    0.1,
    -1e300,
    float("inf"),
    "",
    "abc",
    "größer ✓ \U0001f40d",
    b"",
    bytes(range(256)),
    bytearray(b"xyz"),
    [],
    [1, [2, (3, None)]],
    (),
    (1,),
    {"a": 1, 2: [3], (4, 5): {"b": b"c"}},
    {1, 2, "three"},
    frozenset((1, 2)),
    "x" * 100000,
    list(range(3000)),
)


def say(*words):
    print("=", *words)


def error(function, *args, **kwargs):
    """The name of the exception that it raises."""
    try:
        function(*args, **kwargs)
    except Exception as e:
        return type(e).__name__
    return None


# ---- Process -----------------------------------------------------------------------------------------


def exits(code):
    sys.exit(code)


def fails():
    raise KeyError("on purpose")


def tells(queue):
    me = multiprocessing.current_process()
    parent = multiprocessing.parent_process()
    queue.put(
        [me.name, me.daemon, me.pid == os.getpid(), parent.name, me.is_alive(), multiprocessing.active_children()]
    )


class Counter(Process):
    def __init__(self, queue, upto):
        super().__init__(name="counter")
        self.queue, self.upto = queue, upto

    def run(self):
        for n in range(self.upto):
            self.queue.put(n)


def nested(queue):
    inner = Process(target=tells, args=(queue,))
    inner.start()
    queue.put(inner.name)
    inner.join()
    sys.exit(inner.exitcode + 4)


def processes():
    say(multiprocessing.current_process().name, multiprocessing.parent_process(), multiprocessing.active_children())
    for target, args in ((exits, (None,)), (exits, (7,)), (exits, (0,)), (fails, ()), (time.sleep, (0,))):
        process = Process(target=target, args=args)
        before = (process.pid, process.exitcode, process.is_alive())
        process.start()
        process.join()
        say(process.name, before, process.exitcode, process.is_alive(), process.pid > 0)
    queue = Queue()
    process = Process(target=tells, args=(queue,), name="teller", daemon=True)
    process.start()
    say(queue.get())
    process.join()
    process = Counter(queue, 5)
    process.start()
    say(process.name, [queue.get() for _ in range(5)])
    process.join(timeout=20)
    process = Process(target=nested, args=(queue,))
    process.start()
    say(sorted(map(str, (queue.get(), queue.get()))))
    process.join()
    say(process.exitcode)
    ends()
    wrong(process)


def ends():
    sleeper = Process(target=time.sleep, args=(60,))
    sleeper.start()
    sleeper.join(0.05)
    say(sleeper.is_alive(), sleeper.exitcode, [p.name for p in multiprocessing.active_children()] == [sleeper.name])
    say(error(sleeper.close))
    sleeper.terminate()
    sleeper.join()
    say(sleeper.exitcode, sleeper.is_alive(), multiprocessing.active_children())
    sleeper.terminate()
    sleeper = Process(target=time.sleep, args=(60,))
    sleeper.start()
    sleeper.kill()
    sleeper.join()
    say(sleeper.exitcode)
    sleeper.close()
    say(error(sleeper.is_alive), error(sleeper.join), error(lambda: sleeper.exitcode))


def wrong(ended):
    fresh = Process(target=fails)
    say(error(fresh.join), error(fresh.terminate) is not None, error(ended.start), error(Process, 1))
    say(error(setattr, ended, "daemon", True), error(setattr, fresh, "name", 5), error(lambda: fresh.sentinel))


# ---- Pipe --------------------------------------------------------------------------------------------


def echo(connection):
    try:
        while True:
            connection.send(connection.recv())
    except EOFError:
        connection.close()


def pipes():
    ours, theirs = Pipe()
    process = Process(target=echo, args=(theirs,))
    process.start()
    theirs.close()
    whole = 0
    for value in VALUES:
        ours.send(value)
        back = ours.recv()
        whole += back == value and type(back) is type(value)
    say(whole == len(VALUES), ours.poll(), ours.readable, ours.writable, theirs.closed)
    process.terminate()
    process.join()
    say(error(ours.recv))
    ours.close()
    say(error(ours.send, 1), error(ours.poll))
    r, w = Pipe(duplex=False)
    w.send_bytes(b"first")
    w.send_bytes(bytearray(b"second"))
    say(r.poll(), r.recv_bytes(), r.poll(1), r.recv_bytes(10), r.poll(), r.poll(0.01), r.writable, w.readable)
    w.send_bytes(b"0123456789", 2, 5)
    say(r.recv_bytes())
    w.send_bytes(b"third")
    buffer = bytearray(10)
    say(r.recv_bytes_into(buffer, 3), buffer)
    say(error(r.send, 1), error(w.recv), error(w.send_bytes, b"abc", 4), error(w.send_bytes, b"abc", 1, -1))
    w.send(None)
    w.close()
    say(r.recv(), r.poll(), error(r.recv))
    w.close()
    with r:
        pass
    say(r.closed)


# ---- queues and locks --------------------------------------------------------------------------------


def moves(source, target):
    while (item := source.get()) is not None:
        target.put(item * 2)


def queues():
    queue = Queue(2)
    say(queue.empty(), queue.full(), error(queue.get, False), error(queue.get, True, 0.01), error(queue.get_nowait))
    queue.put("a")
    queue.put_nowait("b")
    say(queue.full(), error(queue.put, "c", False), error(queue.put, "c", True, 0.01), error(queue.put_nowait, "c"))
    say(
        queue.get(timeout=5),
        queue.get(True, 5),
        queue.full(),
        issubclass(Empty, Exception),
        issubclass(Full, Exception),
    )
    queue.close()
    queue.join_thread()
    say(error(queue.put, 1))
    source, target = Queue(), SimpleQueue()
    workers = [Process(target=moves, args=(source, target)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for n in range(60):
        source.put(n)
    got = sorted(target.get() for _ in range(60))
    for _ in workers:
        source.put(None)
    for worker in workers:
        worker.join()
    say(got == [2 * n for n in range(60)], target.empty(), [worker.exitcode for worker in workers])


def holds(lock, held, over):
    with lock:
        held.set()
        over.wait()


def adds(lock, r, w, times):
    for _ in range(times):
        with lock:
            w.send(r.recv() + 1)


def locks():
    lock, held, over = Lock(), Event(), Event()
    say(lock.acquire(), lock.acquire(False), lock.acquire(timeout=0.01), lock.release(), error(lock.release))
    holder = Process(target=holds, args=(lock, held, over))
    holder.start()
    say(held.wait(), held.is_set(), over.is_set(), over.wait(0.01), lock.acquire(False), lock.acquire(True, 0.05))
    over.set()
    say(lock.acquire(), lock.release(), over.wait(0.01))
    holder.join()
    over.clear()
    say(over.is_set(), held.is_set())
    r, w = Pipe(False)
    w.send(0)
    adders = [Process(target=adds, args=(lock, r, w, 15)) for _ in range(3)]
    for adder in adders:
        adder.start()
    for adder in adders:
        adder.join()
    say(r.recv())
    semaphore = multiprocessing.BoundedSemaphore(2)
    say(
        [semaphore.acquire(False) for _ in range(3)], semaphore.release(), semaphore.release(), error(semaphore.release)
    )
    rlock = multiprocessing.RLock()
    say(rlock.acquire(), rlock.acquire(), rlock.release(), rlock.release(), error(rlock.release))


# ---- Pool --------------------------------------------------------------------------------------------


class Refused(ValueError):
    pass


def square(n):
    return n * n


def add(a, b=10):
    return a + b


def refuse(n):
    if n == 3:
        raise Refused("not", n)
    return n


def who(_):
    time.sleep(0.02)
    return os.getpid()


PREPARED = []


def prepare(word):
    PREPARED.append(word)


def prepared(_):
    return PREPARED


def pools():
    with Pool(3, prepare, ("ready",)) as pool:
        say(
            pool.map(square, range(20)) == [n * n for n in range(20)],
            pool.map(square, []),
            pool.apply(add, (1,), {"b": 2}),
        )
        say(pool.starmap(add, [(1, 2), (3, 4), (5,)]), list(pool.imap(square, range(6))), pool.apply(len, ("four",)))
        say(sorted(pool.imap_unordered(square, range(10), 3)), pool.map(prepared, range(2)))
        say(len(set(pool.map(who, range(30), 1))) > 1)
        called = []
        result = pool.apply_async(square, (9,), callback=called.append)
        say(result.get(20), result.ready(), result.successful())
        result = pool.map_async(refuse, range(5), error_callback=called.append)
        say(error(result.get, 20), result.successful())
        time.sleep(0.2)
        result.wait()
        say([str(item) for item in called])
        try:
            pool.map(refuse, range(5))
        except Refused as e:
            say("refused", e.args)
        slow = pool.apply_async(time.sleep, (30,))
        say(slow.ready(), error(slow.get, 0.05), error(slow.successful))
        say(error(pool.map, lambda n: n, [1]) is not None)
    say(error(pool.map, square, [1]))
    pool.join()
    pool = Pool(2)
    results = [pool.apply_async(square, (n,)) for n in range(8)]
    say(error(pool.join))
    pool.close()
    say(error(pool.apply_async, square, (1,)))
    pool.join()
    say([result.get() for result in results], error(Pool, 0))


if __name__ == "__main__":
    multiprocessing.set_start_method("fork")
    for part in (processes, pipes, queues, locks, pools):
        part()
    say("the end")
