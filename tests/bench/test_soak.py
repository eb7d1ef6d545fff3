# SPDX-License-Identifier: MIT
"""What the soak makes of its samples and of what its clients print."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.bench import soak, soakload
from tests.bench.trend import trend

TIMES = [60.0 * n for n in range(100)]
QUERIES = """> NOERROR h1.bench.test A 0.001000
> NXDOMAIN none6.bench.test A 0.003000
> T h2.bench.test A
> SERVFAIL h3.bench.test AAAA 0.002000
"""


def noise() -> list[float]:
    r = random.Random(3)
    return [1000.0 + r.expovariate(0.1) for _ in TIMES]


def test_a_constant_is_flat_without_any_tolerance() -> None:
    found = trend(TIMES, [5.0] * len(TIMES))
    assert (found.median, found.growth, found.low, found.high) == (5.0, 0.0, 0.0, 0.0)
    assert found.verdict(0.0) == "flat"


def test_a_line_is_its_own_slope() -> None:
    found = trend(TIMES, [2 * t for t in TIMES])
    assert all(math.isclose(value, 2 * TIMES[-1]) for value in (found.growth, found.low, found.high))
    assert found.verdict(100.0) == "rises"


def test_noise_is_flat_within_its_size_and_unclear_below() -> None:
    found = trend(TIMES, noise())
    assert found.low < 0 < found.high
    assert found.verdict(50.0) == "flat"
    assert found.verdict(found.high / 2) == "unclear"


def test_a_leak_is_seen_through_noise_and_single_outliers_are_not() -> None:
    leak = [value + n for n, value in enumerate(noise())]
    assert trend(TIMES, leak).verdict(50.0) == "rises"
    late = noise()
    late[90] = late[95] = 1e6
    assert trend(TIMES, late).verdict(50.0) == "flat"


def test_the_interval_holds_the_truth_nineteen_times_of_twenty() -> None:
    r = random.Random(4)
    times = [float(n) for n in range(20)]
    hits = 0
    for _ in range(300):
        found = trend(times, [t + r.gauss(0, 5) for t in times])
        hits += found.low <= times[-1] <= found.high
    assert 0.91 <= hits / 300 <= 0.99


def test_too_few_samples() -> None:
    with pytest.raises(ValueError, match="3 samples"):
        trend([1.0, 2.0, 3.0], [1.0, 1.0, 1.0])
    with pytest.raises(ValueError, match="ascend"):
        trend([1.0] * 8, [1.0] * 8)


def test_what_dnsperf_prints() -> None:
    found = soakload.of_dnsperf(QUERIES)
    assert (found.count, found.p50_ms, found.p99_ms) == (3, 2.0, 3.0)
    assert found.errors == ["1 lost", "1 wrong: SERVFAIL"]
    assert "measured nothing" in soakload.of_dnsperf("no server").errors[0]


def test_what_wrk_prints() -> None:
    kinds = '"connect": 0, "read": 2, "write": 0, "status": 0, "timeout": 1'
    found = soakload.of_wrk(f'JSON {{"requests": 7, "p50_us": 1500, "p99_us": 2500, {kinds}}}\n')
    assert (found.count, found.p50_ms, found.p99_ms, found.errors) == (7, 1.5, 2.5, ["2 read", "1 timeout"])
    assert "measured nothing" in soakload.of_wrk("unable to connect").errors[0]


def sample(minute: int, *, leak: int = 0, errors: tuple[str, ...] = ()) -> dict[str, Any]:
    free = (16 << 20) - leak * minute
    memory = {"ram_free": free, "gc_used": 1000, "c_used": 1000, "rss": 40 << 20}
    load = {"count": 10, "p50_ms": 1.0, "p99_ms": 2.0, "errors": list(errors)}
    return {"at_s": 60.0 * minute, "load": {"http": load}, "memory": {"http": memory}, "cpu_share": 0.1}


def test_a_summary() -> None:
    good = soak.summary([sample(n) for n in range(30)])
    assert good["flat_memory"] and good["verdict"] == {"flat": 6, "unclear": 0, "rises": 0}
    assert good["requests"]["http"] == {"requests": 300, "errors": 0, "which": []}
    bad = soak.summary([sample(n, leak=8192, errors=("1 lost",) * (n == 5)) for n in range(30)])
    assert not bad["flat_memory"]
    assert bad["trends"]["http: RAM taken of the guest"]["verdict"] == "rises"
    assert bad["requests"]["http"]["which"] == ["300 s: 1 lost"]


def two_hours(name: str, row: str, value: Callable[[int], float]) -> str:
    """The verdict of one row of memory, its value by the minute."""
    samples = [sample(minute) for minute in range(120)]
    for minute, taken in enumerate(samples):
        memory: dict[str, dict[str, float]] = taken["memory"]
        memory["http"][name] = value(minute)
    report = soak.summary(samples)
    verdict = str(report["trends"][f"http: {row}"]["verdict"])
    assert report["flat_memory"] == (verdict == "flat")
    return verdict


def scatter(minute: int, size: float) -> float:
    return random.Random(minute).uniform(0, size)


HEAP, RSS, RAM = "Python heap used", "RSS of the hypervisor", "RAM taken of the guest"


def test_what_a_swap_kept_in_two_hours_is_found() -> None:
    """530 bytes each, five a minute; and an eighth of that, in a heap that differs by 4 KiB from sample to sample."""
    assert two_hours("gc_used", HEAP, lambda m: 120_000 + 530 * 5 * m) == "rises"
    assert two_hours("gc_used", HEAP, lambda m: 120_000 + 66 * 5 * m + scatter(m, 4096)) == "rises"
    assert two_hours("c_used", "C memory used", lambda m: 18_000 + 530 * 5 * m) == "rises"


def test_a_byte_of_thirty_requests_is_found() -> None:
    assert two_hours("gc_used", HEAP, lambda m: 74_752 + 500 * 60 * m / 30) == "rises"


def test_what_did_not_grow_in_two_hours_passes() -> None:
    """Rows of the run of 30 November 2026, by what their intervals were."""
    assert two_hours("gc_used", HEAP, lambda m: 74_752 - 67 * (m > 40)) == "flat"
    assert two_hours("c_used", "C memory used", lambda m: 75_184 + 459 * m / 100) == "flat"
    assert two_hours("rss", RSS, lambda m: 41_385_984 + 67_000 * m / 100 + scatter(m, 65_536)) == "flat"
    assert two_hours("rss", RSS, lambda m: 57_733_120 - 470 * m + scatter(m, 65_536)) == "flat"


def test_the_first_twenty_minutes_are_left_out_and_a_later_step_is_not() -> None:
    assert two_hours("gc_used", HEAP, lambda m: 1e6 * min(m, 20)) == "flat"
    assert two_hours("ram_free", RAM, lambda m: 29e6 - 751_509 * (m > 70)) != "flat"
    assert two_hours("rss", RSS, lambda m: 41e6 + 9_000 * m) == "rises"


def test_ten_quick_samples_are_judged_too() -> None:
    samples = [sample(minute) | {"at_s": 6.0 * minute} for minute in range(10)]
    assert soak.summary(samples)["flat_memory"]
    samples[7]["memory"]["http"]["gc_used"] += 2000
    assert soak.summary(samples)["flat_memory"]
