# SPDX-License-Identifier: MIT
"""port/hal/blob.c and port/hal/fwcfg.c against a device: files by name, and a device that lies, one fault a parameter."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.c.support.harness import EIO, Harness
from tests.c.support.port_programs import build

ENOENT, EFBIG = -2, -27
BROKEN = "; no secret and no --env-file can be read"
UUID = "00112233445566778899aabbccddeeff"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("fwcfg"), "fwcfg")


def lines(h: Harness, *words: object) -> list[str]:
    return str(h.do(*words)).splitlines()


def test_files_by_name(h: Harness) -> None:
    h.do("file", "etc/e820", "ff")
    h.do("file", "opt/floe/secret/a", "010203")
    h.do("file", "opt/floe/secret/ab", "-")
    h.do("file", "opt/other/secret/c", "aa")
    h.do("file", "opt/floe/env/0", "41")
    assert h.number("size", "secret/a") == 3
    assert h.do("read", "secret/a", 3) == "010203"
    assert h.do("read", "secret/a", 2) == "0102"
    assert h.number("size", "secret/ab") == 0
    assert h.do("read", "secret/ab", 0) == ""
    for name in ("secret/c", "secret/", "e820", "a", "secret/abc"):
        assert h.number("size", name) == ENOENT
        assert h.do("read", name, 0) == str(ENOENT)
    assert lines(h, "next", "secret/", 8) == ["1 a", "2 ab", str(ENOENT)]
    assert lines(h, "next", "secret/", 2) == ["1 a", "2 a", str(ENOENT)]  # cut, and the length says so
    assert lines(h, "next", "nothing/", 8) == [str(ENOENT)]


def test_the_directory_is_read_once(h: Harness) -> None:
    h.do("file", "opt/floe/secret/a", "01")
    for _ in range(3):
        assert h.number("size", "secret/a") == 1
    assert h.number("fetches") == 1


def test_no_device(h: Harness) -> None:
    h.do("absent")
    assert h.number("size", "secret/a") == ENOENT
    assert lines(h, "next", "secret/", 8) == [str(ENOENT)]
    assert h.do("get_uuid") == "none"
    assert h.number("fetches") == 0


def test_uuid(h: Harness) -> None:
    assert h.do("get_uuid") == "none"
    h.do("uuid", UUID)
    assert h.do("get_uuid") == UUID


@pytest.mark.parametrize("size", [(1 << 20) + 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_a_size_that_no_blob_has(h: Harness, size: int) -> None:
    h.do("file", "opt/floe/secret/a", "01", size)
    h.do("file", "opt/floe/secret/b", "02")
    assert h.number("size", "secret/a") == EFBIG
    assert h.do("read", "secret/a", 0) == str(EFBIG)
    assert h.do("read", "secret/b", 1) == "02"


def test_a_size_beyond_the_data_reads_zeros(h: Harness) -> None:
    h.do("file", "opt/floe/secret/a", "0102", 5)
    assert h.do("read", "secret/a", 5) == "0102000000"


@pytest.mark.parametrize("count", [65, 1 << 16, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_count_beyond_the_directory(h: Harness, count: int) -> None:
    h.do("file", "opt/floe/secret/a", "01")
    h.do("count", count)
    assert lines(h, "size", "secret/a") == [f"log fw_cfg: log too many fileslog {BROKEN}", str(EIO)]
    assert lines(h, "size", "secret/a") == [str(EIO)]  # said once
    assert h.do("get_uuid") == "none"


def test_as_many_files_as_there_may_be(h: Harness) -> None:
    for i in range(64):
        h.do("file", f"opt/floe/secret/{i}", f"{i:02x}")
    assert h.do("read", "secret/63", 1) == "3f"


@pytest.mark.parametrize("key", [0, 0x19, 0x1F, 0x4000, 0xFFFF])
def test_a_key_that_no_file_has(h: Harness, key: int) -> None:
    h.do("file", "opt/floe/secret/a", "01", 1, key)
    assert lines(h, "size", "secret/a")[-1] == str(EIO)


def test_a_name_without_an_end(h: Harness) -> None:
    h.do("endless", "x", "01")
    assert lines(h, "next", "", 8) == [f"log fw_cfg: log a file without a name or a placelog {BROKEN}", str(EIO)]
