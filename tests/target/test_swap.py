# SPDX-License-Identifier: MIT
"""port/dev/swap.c: another version of a module in a program that goes on."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from floe.build import port_archive
from floe.testing import Boot
from tests.support.mpremote_device import Device

DEADLINE_S = 60.0
RAW = "raw REPL; CTRL-B to exit\r\n>"
MAIN = """
import asyncio, shop, user
async def main():
    print("service runs")
    await asyncio.sleep(100000)
asyncio.run(main())
"""
SHOP = """
import micropython
LIMIT = 1
state = {"seen": 1}
def price(x=1):
    return ("old", x, LIMIT)
def outer(n):
    def inner(): return ("old inner", n)
    return inner
made = outer(5)
def again(): return price()
@micropython.native
def fast(): return "old fast"
async def slow(gate):
    await gate.wait()
    return ("old slow", price())
def numbers():
    yield "old 1"
    yield "old 2"
class Base:
    def name(self): return "old base"
class Shop(Base):
    KIND = "old kind"
    def __init__(self): self.stock = 7
    def name(self): return "old " + super().name()
    @staticmethod
    def make(): return "old make"
    @property
    def size(self): return "old size"
class Other: pass
here = Shop()
"""
NEW = """
import micropython
LIMIT = 2
def price(x=10, y=20):
    return ("new", x, y, LIMIT)
def outer(n):
    def inner(): return ("new inner", n)
    return inner
made = outer(6)
@micropython.native
def fast(): return "new fast"
async def slow(gate):
    return "new slow"
def numbers():
    yield "new 1"
class Base:
    def name(self): return "new base"
class Shop(Base):
    KIND = "new kind"
    def __init__(self): self.stock = 8
    def name(self): return "new " + super().name()
    @staticmethod
    def make(): return "new make"
    @property
    def size(self): return "new size"
    def added(self): return self.stock
class Other(Base):
    def hello(self): return "new hello"
here = Shop()
def bump():
    global LIMIT
    LIMIT += 1
"""
USER = """
from shop import price, made, fast, numbers, slow, Shop, Other, LIMIT, outer
shop, other = Shop(), Other()
table = {"price": price, "name": shop.name, "make": Shop.make}
under_way = numbers()
next(under_way)
from asyncio import Event, create_task
gate = Event()
answers = []
async def waits():
    answers.append(await slow(gate))
"""
# expression: its value once `shop` is NEW. Who holds what from before is `user`.
FOLLOWS = {
    "shop.price()": "('new', 10, 20, 2)",
    "user.price(3)": "('new', 3, 20, 2)",
    "user.table['price'](y=4)": "('new', 10, 4, 2)",
    "user.made()": "('new inner', 6)",
    "user.fast()": "'new fast'",
    "list(user.numbers())": "['new 1']",
    "list(user.under_way)": "['old 2']",  # it goes on as it began
    "user.shop.name()": "'new new base'",
    "user.table['name']()": "'new new base'",
    "user.table['make']()": "'new make'",
    "user.shop.size": "'new size'",
    "user.shop.KIND": "'new kind'",
    "user.shop.added()": "7",
    "isinstance(user.shop, shop.Shop)": "True",
    "isinstance(shop.here, user.Shop)": "True",
    "isinstance(user.other, shop.Other)": "False",  # its bases are others: the old instances keep the old class
    "shop.Other().hello()": "'new hello'",
    "user.LIMIT": "1",  # a copy
    "shop.state": "{'seen': 1}",  # the new code says nothing about it
    "shop.again()": "('new', 10, 20, 2)",
    "shop.bump() or shop.LIMIT, shop.price()": "(3, ('new', 10, 20, 3))",  # one namespace for all
    "user.price.__name__": "'price'",
}


@pytest.fixture
def device(boot: Boot, tmp_path: Path) -> Device:
    for name, source in (("main", MAIN), ("shop", SHOP), ("user", USER)):
        (tmp_path / f"{name}.py").write_text(source)
    (tmp_path / "image.toml").write_text('name = "swap"\n')
    d = Device(boot(tmp_path, deadline_s=DEADLINE_S, dev=True))
    d.type("", "service runs\n")
    d.type("\r\x01", RAW)
    run(d, "import floe")
    return d


def run(d: Device, program: str, answer: str = "", error: str = "") -> None:
    d.type(f"\x05A\x01{program}\x04", f"{answer}\x04{error}")
    d.type("", "\x04>")


def evaluate(d: Device, expression: str, value: str) -> None:
    run(d, f"print(repr(({expression})))", value + "\r\n")


def mpy(tmp_path: Path, source: str) -> bytes:
    path = tmp_path / "new.py"
    path.write_text(source)
    cross = port_archive.BUILD / "mpy-cross"
    subprocess.run([cross, "-march=x64", "-s", "shop.py", "-o", tmp_path / "new.mpy", path], check=True, timeout=30)
    return (tmp_path / "new.mpy").read_bytes()


@pytest.mark.parametrize("form", ["source", "mpy"])
def test_all_that_others_hold_follows(device: Device, tmp_path: Path, form: str) -> None:
    run(device, "create = user.create_task(user.waits())")
    code = NEW if form == "source" else mpy(tmp_path, NEW)
    run(device, f"floe.swap('shop', {code!r})")
    for expression, value in FOLLOWS.items():
        evaluate(device, expression, value)
    run(device, "user.gate.set()")
    evaluate(device, "user.answers", "[('old slow', ('new', 10, 20, 3))]")  # began before, ends with what is there now
    for version in ("third", "fourth"):
        source = f"def price(): return {version!r}"
        run(device, f"floe.swap('shop', {source!r})")
        evaluate(
            device, "user.price(), shop.price(), user.table['price']()", f"({version!r}, {version!r}, {version!r})"
        )
    run(device, "import gc; gc.collect(); [bytearray(100) for _ in range(20000)]")
    evaluate(device, "user.price(), user.shop.name()", "('fourth', 'new new base')")
    assert "PANIC" not in device.vm.console_text


def test_code_that_fails_changes_nothing(device: Device, tmp_path: Path) -> None:
    run(device, "floe.swap('shop', 'LIMIT = 99\\ndef price(): return 1\\n1/0')", "", "Traceback")
    run(device, "floe.swap('shop', 'def price(:')", "", "Traceback")
    run(device, "floe.swap('shop', b'no bytecode')", "", "Traceback")
    assert "ZeroDivisionError" in device.vm.console_text and "SyntaxError" in device.vm.console_text
    assert "ValueError: incompatible .mpy file" in device.vm.console_text
    evaluate(device, "shop.price(), user.price(5), shop.LIMIT", "(('old', 1, 1), ('old', 5, 1), 1)")


def test_what_is_no_module_in_use_is_refused(device: Device) -> None:
    run(device, "floe.swap('shoe', '')", "", "Traceback")
    run(device, "floe.swap('sys', '')", "", "Traceback")
    assert "ValueError: no module 'shoe' has been imported" in device.vm.console_text


GENERATION = """
VERSION = %d
def price(): return VERSION
def outer(n):
    def inner(): return n, VERSION
    return inner
made = outer(VERSION)
async def slow(gate): return VERSION
class Base:
    def name(self): return VERSION
class Shop(Base):
    def name(self): return super().name()
    @staticmethod
    def make(): return VERSION
"""
TURNS = f"""
import gc, shop
def turns(first, last):
    for n in range(first, last):
        floe.swap("shop", {GENERATION!r} % n)
    gc.collect()
    return gc.mem_alloc()
"""
NOISE = 4096  # a generation is some 1,100 bytes, and what the stack has of one may keep it


def grown(d: Device, turns: str) -> int:
    """By how many bytes 300 replacements and a garbage collection make the Python heap grow."""
    run(d, f"before = turns(0, 50); {turns}; print('grown by', turns(50, 350) - before, 'bytes')")
    match = re.findall(r"grown by (-?[0-9]+) bytes", d.vm.console_text)
    return int(match[-1])


def test_generations_that_nobody_holds_keep_nothing(device: Device) -> None:
    run(device, TURNS)
    assert grown(device, "pass") < NOISE
    # user.py holds the first generation only
    evaluate(
        device, "user.price(), user.made(), user.table['name'](), user.table['make']()", "(349, (349, 349), 349, 349)"
    )


def test_those_that_are_held_find_the_newest_and_keep_none_between(device: Device) -> None:
    """Of the fiftieth generation."""
    run(device, TURNS)
    hold = "held = [shop.price, shop.made, shop.Shop().name, shop.Shop.make, shop.slow, user.Shop()]"
    assert grown(device, hold) < NOISE
    evaluate(device, "[held[i]() for i in (0, 1, 2, 3)]", "[349, (349, 349), 349, 349]")
    evaluate(device, "held[5].name(), isinstance(held[5], shop.Shop)", "(349, True)")
    run(device, "create = user.create_task(user.waits()); user.slow = held[4]; user.gate.set()")
    evaluate(device, "user.answers", "[349]")
    assert "PANIC" not in device.vm.console_text


def test_an_old_function_that_the_new_code_takes_back(device: Device) -> None:
    """It stands for the newest, and does not become its own successor."""
    run(device, "floe.swap('shop', 'def price(): return 2')")
    run(device, "floe.swap('shop', 'from user import price')")
    evaluate(device, "user.price(), shop.price()", "(2, 2)")
    run(device, "floe.swap('shop', 'import shop\\nprice, fast = shop.fast, shop.price')")  # names exchanged
    evaluate(device, "shop.price(), shop.fast(), user.price()", "('old fast', 2, 2)")
    run(device, "floe.swap('shop', 'def price(): return 3')")
    evaluate(device, "shop.price(), user.fast()", "(3, 3)")
