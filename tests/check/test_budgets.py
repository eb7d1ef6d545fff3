# SPDX-License-Identifier: MIT
"""Budgets of images/*/image.toml: bytes, and instructions of the guest from kernel entry to the first Python line and for
a request. What costs 3 % more fails here; a budget that leaves room for more than that does, too (15 % of a
request)."""

from __future__ import annotations

import os
import signal
import tomllib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.dns import DNS, DNSQR

from floe.build import pipeline, port_archive
from floe.build.pipeline import Built
from floe.qemu import commandline
from tests.check.tree import REPO
from tests.support.instructions import Counted, QemuFailedError, blocks, counted, usual

# Newer QEMUs show the guest more to read while it starts: 6,766 instructions, whatever the image.
_NEWER_QEMU = 7000
_MOST_ROOM = 1.035
_MOST_ROOM_REQUEST = (
    1.15  # web does two things in one go, or in two, which takes it 11 % more: its budget is of the latter
)
_SYMBOLS = 8

_GET = b"GET %b HTTP/1.1\r\nHost: test\r\n\r\n"
_QUERY = bytes(DNS(id=7, rd=1, qd=DNSQR(qname="www.example.org")))
_MQTT_CONNECT = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a"
_MQTT_PUBLISH = b"\x32\x08\x00\x03a/b\x00\x01x"  # QoS 1: it is acknowledged

_REQUESTS: dict[str, Callable[[Counted], int]] = {
    "dns": lambda guest: guest.udp(53, _QUERY, lambda said: b"\xc0\x00\x02\x50" in said),
    "function": lambda guest: guest.tcp(8080, _GET % b"/?name=Ann", lambda said: b"Ann" in said),
    "mqtt": lambda guest: guest.tcp(1883, _MQTT_PUBLISH, lambda said: said[:1] == b"\x40", hello=_MQTT_CONNECT),
    "web": lambda guest: guest.tcp(80, _GET % b"/", lambda said: b"200 OK" in said and said.endswith(b"</html>\n")),
}
IMAGES = ["hello", *_REQUESTS]


def _budget(image: str) -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((REPO / "images" / image / "image.toml").read_text())["budget"]
    return table


@pytest.fixture(scope="module")
def build() -> Callable[[str], Built]:
    """An image of images/, where the compiler is the budgets' one."""

    def built(image: str) -> Built:
        result = pipeline.build(REPO / "images" / image)
        mine, measured = port_archive.load("sealed").compiler, _budget(image)["compiler"]
        if not f"{mine}.".startswith(f"{measured}."):
            pytest.skip(f"SKIP: the budgets are for {measured}: this is {mine}")
        return result

    return built


def _check(image: str, key: str, found: int, where: Callable[[], list[str]]) -> None:
    limit = int(_budget(image)[key])
    if found <= limit:
        return
    over = f"{found:,} instructions of {image}, {100 * (found - limit) / limit:.1f} % over budget.{key}, {limit:,}"
    lines = where()
    pytest.fail("\n".join([f"{over}; most run in:", *lines]) if lines else over)


def _costs(image: str, elf: Path) -> tuple[int, int | None]:
    """Instructions to the first line, and of a request where one is counted."""
    newer = 0 if commandline.version().startswith("7.") else _NEWER_QEMU
    with counted(elf, network=image in _REQUESTS) as guest:
        first = guest.first_line() - newer
        if image not in _REQUESTS:
            return first, None
        guest.says("serving")
        return first, _REQUESTS[image](guest)


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_costs_no_more_instructions_than_its_budget(image: str, build: Callable[[str], Built]) -> None:
    elf = build(image).path
    try:
        first, request = _costs(image, elf)
    except (
        QemuFailedError
    ) as e:  # seen once in some hundred runs, and in none of 840 here: what is measured is the guest
        warnings.warn(f"once more, for QEMU failed where it records: {e}\n{e.evidence}", stacklevel=1)
        first, request = _costs(image, elf)
    _check(image, "first_line", first, lambda: blocks(elf)[:_SYMBOLS])
    assert first * _MOST_ROOM > _budget(image)["first_line"], f"{image}: lower budget.first_line, {first:,} do"
    if request is not None:
        _check(image, "request", request, list)
        room = request * _MOST_ROOM_REQUEST > _budget(image)["request"]
        assert room, f"{image}: lower budget.request, {request:,} do"


@pytest.mark.parametrize("image", IMAGES)
def test_a_budget_of_bytes_leaves_no_room_for_3_percent(image: str, build: Callable[[str], Built]) -> None:
    size, limit = build(image).image.size, int(_budget(image)["elf"])
    assert size <= limit < size * 1.03, f"{image}: {size} bytes; its budget.elf, {limit}, has room for more than 3 %"


def test_every_budget_of_instructions_is_counted() -> None:
    tables = {path.parent.name: tomllib.loads(path.read_text()) for path in REPO.glob("images/*/image.toml")}
    assert {name for name, table in tables.items() if "first_line" in table.get("budget", {})} == set(IMAGES)
    assert {name for name, table in tables.items() if "request" in table.get("budget", {})} == set(_REQUESTS)


def test_a_budget_that_is_passed_says_by_how_much_and_where(build: Callable[[str], Built]) -> None:
    elf = build("hello").path
    words = r"(?s)instructions of hello, \d+\.\d % over budget\.first_line, [\d,]+; most run in:\n.*boot_enter"
    with pytest.raises(pytest.fail.Exception, match=words):
        _check("hello", "first_line", _budget("hello")["first_line"] * 2, lambda: blocks(elf))
    with pytest.raises(pytest.fail.Exception, match=r"over budget\.request, [\d,]+$"):
        _check("web", "request", _budget("web")["request"] * 2, list)


def test_the_count_of_a_request_is_the_usual_one() -> None:
    assert usual([205, 90, 204, 100, 300, 100]) == 100
    assert usual([31300, 34860, 34870, 34900, 35900, 372000]) == 34860


def test_a_qemu_that_fails_is_told_from_a_guest_that_ends(build: Callable[[str], Built]) -> None:
    with counted(build("function").path, network=True) as guest:
        guest.first_line()
        assert guest.vm.pid is not None
        os.kill(guest.vm.pid, signal.SIGABRT)
        with pytest.raises(QemuFailedError):
            guest.says("no such words")
