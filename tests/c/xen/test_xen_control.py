# SPDX-License-Identifier: MIT
"""port/xen/control.c and blob.c over the fake XenStore: what the host asks for and hands over, and what it gets wrong."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from tests.c.support.harness import EIO, Died, Harness
from tests.c.support.xen_harness import build

ENOENT, EFBIG = -2, -27
MS = 1_000_000
CTRL_C = ["INPUT 03"]
UUID = "19668ed9-a9a5-48e5-afd0-395117c5b5c0"
SEED = os.urandom(32).hex()
FEATURES = [f"W control/feature-{name}=1" for name in ("poweroff", "reboot", "suspend")]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(
        tmp_path_factory.mktemp("xen_ctl"), "xen_ctl.c", "port/hal/stop.c", "port/xen/control.c", "port/xen/blob.c"
    )


@pytest.fixture
def h(h: Harness) -> Harness:
    h.do("seeded", 1)
    return h


def started(h: Harness) -> None:
    h.do("xs_set", "control/shutdown", "")
    h.number("probe")
    h.do("wait", 210 * MS)
    h.do("xs_log")


# ---- the host asks for the end --------------------------------------------------------------------


def test_nothing_is_asked_of_the_store_for_200_ms(h: Harness) -> None:
    assert h.number("probe") == 1
    h.do("wait", 199 * MS)  # idle
    assert h.do("xs_log") == ""
    assert "balloon" in h.do("wait", 2 * MS)
    assert h.do("xs_log").splitlines()[:4] == [*FEATURES, "?control/shutdown"]


def test_a_store_that_cannot_at_the_start_is_asked_again(h: Harness) -> None:
    h.do("xs_fail", "control/shutdown", 110, 2)
    h.number("probe")
    assert "balloon" not in h.do("wait", 9_000 * MS)
    assert "balloon" in h.do("wait", 2_000 * MS)
    h.do("xs_log")
    h.do("xs_set", "control/shutdown", "poweroff")
    h.do("run")
    assert h.do("xs_get", "control/shutdown") == ""


def test_a_store_that_never_can_is_left_alone(h: Harness) -> None:
    h.do("xs_fail", "control/shutdown", 110)
    h.number("probe")
    h.do("wait", 60_000 * MS)
    h.do("xs_log")
    h.do("wait", 60_000 * MS)
    assert h.do("xs_log") == "" and h.number("evleft") == 0xFFFFFFFFFFFFFFFF


@pytest.mark.parametrize("refused", [0, 1, 3, 9, 100])
def test_a_memory_target_that_cannot_be_watched_is_asked_for_again(h: Harness, refused: int) -> None:
    h.do("balloon_refused", refused)
    h.number("probe")
    assert h.do("wait", 60_000 * MS).count("balloon") == min(refused + 1, 10)
    assert h.do("xs_log").count("?control/shutdown") == 1  # and that only
    assert h.number("evleft") == 0xFFFFFFFFFFFFFFFF
    h.do("xs_set", "control/shutdown", "poweroff")
    h.do("run")
    assert h.events == CTRL_C


def test_an_end_in_time_while_the_target_is_asked_for_again(h: Harness) -> None:
    h.do("balloon_refused", 100)
    h.number("probe")
    h.do("wait", 3_000 * MS)  # asked at 0.2, 5.2 and 10.2 s
    h.do("xs_set", "control/shutdown", "poweroff")
    h.do("run")
    assert h.events == CTRL_C
    h.do("wait", 3_000 * MS)
    assert h.number("evleft") <= 2_000 * MS
    with pytest.raises(Died, match="EXIT 1 0"):
        h.do("wait", 2_100 * MS)


def test_a_busy_vm_asks_too(h: Harness) -> None:
    h.number("probe")
    h.do("hal", "advance", 199 * MS)
    h.do("run")
    assert h.do("xs_log") == ""
    h.do("hal", "advance", 1 * MS)
    assert "balloon" in h.do("run")
    assert "?control/shutdown" in h.do("xs_log")


def test_not_under_xen(h: Harness) -> None:
    h.do("xen", "absent", 1)
    assert h.number("probe") == 0
    h.do("wait", 1000 * MS)
    assert h.do("xs_log") == ""


@pytest.mark.parametrize(("word", "reboot"), [("poweroff", 0), ("halt", 0), ("reboot", 1)])
@pytest.mark.parametrize("conflicts", [0, 3])
def test_the_end_is_asked_for(h: Harness, word: str, reboot: int, conflicts: int) -> None:
    started(h)
    h.do("xen", "conflicts", conflicts)
    h.do("xs_set", "control/shutdown", word)
    h.do("run")
    assert h.events == CTRL_C
    assert h.do("xs_get", "control/shutdown") == ""
    assert h.number("reboot") == reboot
    h.do("wait", 4990 * MS)
    assert h.events == CTRL_C  # once
    with pytest.raises(Died, match=f"EXIT 1 {reboot}"):  # the script does not end
        h.do("wait", 100 * MS)


def test_asked_before_the_watch(h: Harness) -> None:
    h.do("xs_set", "control/shutdown", "poweroff")
    h.number("probe")
    h.do("wait", 210 * MS)
    assert h.events == CTRL_C


def test_a_second_request_changes_the_kind_and_types_nothing(h: Harness) -> None:
    started(h)
    h.do("xs_set", "control/shutdown", "poweroff")
    h.do("run")
    h.do("wait", 3000 * MS)
    h.do("xs_set", "control/shutdown", "reboot")
    h.do("run")
    assert h.events == CTRL_C
    with pytest.raises(Died, match="EXIT 1 1"):
        h.do("wait", 2100 * MS)


@pytest.mark.parametrize("word", ["crash", "suspended", "x" * 300])
def test_what_is_not_known_stays(h: Harness, word: str) -> None:
    started(h)
    h.do("xs_set", "control/shutdown", word)
    h.do("run")
    assert h.events == []
    assert h.do("xs_get", "control/shutdown") == word
    assert h.log == [f"xen: the host asks for '{word[:15]}': not done (-2)"]


def test_a_store_that_always_conflicts(h: Harness) -> None:
    started(h)
    h.do("xen", "conflicts", 1000)
    h.do("xs_set", "control/shutdown", "poweroff")
    h.do("run")
    assert h.events == []
    assert h.log == ["xen: the host asks for 'poweroff': not done (-11)"]


@pytest.mark.parametrize("at", ["control/shutdown", "control"])
def test_a_store_that_refuses(h: Harness, at: str) -> None:
    h.do("xs_fail", at, 13)
    h.do("xs_set", "control/shutdown", "poweroff")
    h.number("probe")
    h.do("wait", 250 * MS)
    assert h.events == []
    assert h.log == []


# ---- suspend -------------------------------------------------------------------------------------


@pytest.mark.parametrize("conflicts", [0, 3])
def test_saved_and_going_on_in_the_same_domain(h: Harness, conflicts: int) -> None:
    started(h)
    h.do("xs_set", "floe/seed", SEED)
    for _ in range(2):
        h.do("xen", "conflicts", conflicts)
        h.do("xs_set", "control/shutdown", "suspend")
        assert h.do("run").splitlines()[0] == "SUSPEND []"
    assert not any(line.startswith("W") for line in h.do("xs_log").splitlines()) and h.events == [] and h.log == []


def test_resumed_in_another_domain(h: Harness) -> None:
    """It says there what it can, and takes that host's seed, whatever the processor has."""
    started(h)
    h.do("elsewhere", 1)
    h.do("xs_set", "control/shutdown", "suspend")
    h.do("xs_set", "floe/seed", SEED)
    assert h.do("run").splitlines()[0] == "SUSPEND []"
    assert h.do("xs_log").splitlines()[:4] == ["R floe/seed", *FEATURES]
    assert h.events == [f"ENTROPY {SEED}"]
    h.do("xs_set", "control/shutdown", "poweroff")
    h.do("run")
    assert h.events[1:] == CTRL_C


def test_a_suspend_that_is_not_answered_is_none(h: Harness) -> None:
    started(h)
    h.do("xen", "conflicts", 1000)
    h.do("xs_set", "control/shutdown", "suspend")
    assert "SUSPEND" not in h.do("run")
    assert h.log == ["xen: the host asks for 'suspend': not done (-11)"]


# ---- seed ----------------------------------------------------------------------------------------


def test_seed(h: Harness) -> None:
    h.do("seeded", 0)
    h.do("xs_set", "floe/seed", SEED)
    h.number("probe")
    assert h.events == [f"ENTROPY {SEED}"]


def test_no_seed_is_read_where_there_is_randomness(h: Harness) -> None:
    h.do("xs_set", "floe/seed", SEED)
    h.number("probe")
    assert h.events == []
    assert h.do("xs_log") == ""


@pytest.mark.parametrize(
    "seed", ["", SEED[:-1], SEED + "0", "g" * 64, SEED[:-1] + " "], ids=["none", "short", "long", "no hex", "a blank"]
)
def test_what_is_no_seed(h: Harness, seed: str) -> None:
    h.do("seeded", 0)
    h.do("xs_set", "floe/seed", seed)
    assert h.number("probe") == 1
    assert h.events == []


# ---- blobs ---------------------------------------------------------------------------------------


def put(h: Harness, number: int, name: str, data: bytes) -> None:
    at = f"floe/blob/{number}"
    h.do("xs_set", f"{at}/name", name)
    h.do("xs_set", f"{at}/size", len(data))
    for k in range(0, len(data), 1152):
        h.do("xs_set", f"{at}/{k // 1152}", base64.b64encode(data[k : k + 1152]).decode())


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 1151, 1152, 1153, 2304, 10000])
def test_blob(h: Harness, size: int) -> None:
    data = os.urandom(size)
    put(h, 0, "env/0", b"A=1\n")
    put(h, 1, "secret/a", data)
    assert h.number("blob_size", "secret/a") == size
    assert h.do("blob_read", "secret/a", size) == data.hex()
    assert h.do("blob_read", "secret/a", size // 2) == data[: size // 2].hex()
    assert h.do("blob_read", "env/0", 4) == b"A=1\n".hex()
    assert h.number("blob_size", "secret/b") == ENOENT
    assert h.do("blob_read", "secret/", 0) == str(ENOENT)
    assert h.log == []


def test_names(h: Harness) -> None:
    put(h, 0, "env/0", b"")
    put(h, 1, "secret/a", b"")
    put(h, 2, "secret/" + "x" * 41, b"")  # one more than a name may have
    put(h, 3, "secret/" + "y" * 40, b"")
    put(h, 5, "secret/unseen", b"")  # behind a gap
    assert h.do("blob_next", "secret/", 100).splitlines() == ["1 a", "40 " + "y" * 40, str(ENOENT)]
    assert h.do("blob_next", "secret/", 3).splitlines() == ["1 a", "40 yy", str(ENOENT)]
    assert h.do("blob_next", "-", 4).splitlines()[0] == "5 env"
    assert h.number("blob_size", "secret/" + "x" * 41) == ENOENT
    assert h.number("blob_size", "secret/unseen") == ENOENT


@pytest.mark.parametrize(
    ("path", "value", "err"),
    [
        ("size", None, EIO),
        ("size", "x", EIO),
        ("size", "-1", EIO),
        ("size", "4294967296", EIO),
        ("size", str((1 << 20) + 1), EFBIG),
        ("size", "4294967295", EFBIG),
        ("size", "2999", EIO),
        ("size", "3001", EIO),
        ("size", "1152", 0),  # and the second piece is nobody's
        ("0", None, EIO),
        ("1", None, EIO),
        ("1", "", EIO),
        ("0", "A" * 1536 + "A" * 4, EIO),
        ("0", "A" * 1532, EIO),
        ("0", "A" * 1535 + "=", EIO),
        ("0", "A" * 1535 + "-", EIO),
        ("0", "A" * 4000, EIO),
        ("1", "=" * 1536, EIO),
    ],
)
def test_a_blob_that_is_wrong(h: Harness, path: str, value: str | None, err: int) -> None:
    put(h, 0, "secret/a", bytes(3000))
    put(h, 1, "secret/b", b"b")
    h.do("xs_rm" if value is None else "xs_set", f"floe/blob/0/{path}", value or "")
    size = h.number("blob_size", "secret/a")
    got = h.do("blob_read", "secret/a", size) if size >= 0 else str(size)
    assert (got if len(got) < 10 else "0") == str(err)
    assert h.log == ["xen: floe/blob/0 is not what a blob is"] * (len(h.log) if err == EIO else 0)
    assert (err == EIO) == (len(h.log) > 0)
    assert h.do("blob_read", "secret/b", 1) == b"b".hex()


def test_a_store_that_is_dead(h: Harness) -> None:
    put(h, 0, "secret/a", b"a")
    h.do("xen", "dead", 1)
    assert h.number("blob_size", "secret/a") == EIO
    assert h.do("blob_next", "secret/", 10) == str(EIO)
    assert h.do("uuid") == "none"


@pytest.mark.parametrize(
    ("value", "uuid"),
    [
        (f"/vm/{UUID}", UUID.replace("-", "")),
        (f"/vm/{UUID.upper()}", UUID.replace("-", "")),
        ("/vm/" + "0" * 8 + "-0000-0000-0000-" + "0" * 12, "none"),
        (f"/vm/{UUID}0", "none"),
        (f"/vm/{UUID[:-1]}", "none"),
        (f"/vx/{UUID}", "none"),
        (f"/vm/{UUID[:-1]}g", "none"),
        ("/vm/" + "-" * 36, "none"),
        (UUID, "none"),
        ("", "none"),
    ],
)
def test_uuid(h: Harness, value: str, uuid: str) -> None:
    assert h.do("uuid") == "none"
    h.do("xs_set", "vm", value)
    assert h.do("uuid") == uuid
