# SPDX-License-Identifier: MIT
import asyncio
import signal

heard = []


def note(number, frame):
    heard.append(int(number))


def fail(number, frame):
    raise KeyError(int(number))


print(int(signal.SIGINT), int(signal.SIGTERM), {signal.SIGINT, signal.SIGTERM} <= set(signal.valid_signals()))
print(
    signal.strsignal(signal.SIGINT), signal.strsignal(signal.SIGTERM), signal.strsignal(signal.SIGTERM) == "Terminated"
)
print(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, signal.getsignal(signal.SIGINT) is signal.default_int_handler)
print(signal.signal(signal.SIGTERM, note) == signal.SIG_DFL, signal.signal(signal.SIGTERM, note) is note)
signal.raise_signal(signal.SIGTERM)
signal.signal(signal.SIGINT, fail)
try:
    signal.raise_signal(signal.SIGINT)
except KeyError as e:
    print("KeyError", e.args)
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.raise_signal(signal.SIGINT)
print(heard, signal.getsignal(signal.SIGINT) == signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("KeyboardInterrupt")
for bad in ((signal.SIGTERM, 5), (signal.SIGTERM, "x"), (1000, note)):
    try:
        signal.signal(*bad)
    except (TypeError, ValueError) as e:
        print(type(e).__name__)


async def main():
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, heard.append, "by the loop")
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGTERM)
    await stop.wait()
    await asyncio.sleep(0)
    print(heard, loop.remove_signal_handler(signal.SIGTERM), loop.remove_signal_handler(signal.SIGTERM))
    print(loop.remove_signal_handler(signal.SIGINT), signal.getsignal(signal.SIGINT) is signal.default_int_handler)
    event = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, event.set)
    signal.raise_signal(signal.SIGTERM)
    await event.wait()
    print(loop.remove_signal_handler(signal.SIGTERM), signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)


asyncio.run(main())
