# SPDX-License-Identifier: MIT
"""Which VM runs where: for any VMs and hosts, each once, none over its memory, and nothing moves without need."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from floe.compose.placement import NoPlace, Room, Wanted, place

M = 1 << 20
LABELS = st.frozensets(st.sampled_from(("ssd", "eu")), max_size=2)
ROOMS = st.lists(
    st.builds(
        Room,
        name=st.sampled_from("abcdef"),
        memory=st.integers(0, 300).map(lambda m: m * M),
        cpus=st.integers(1, 8),
        labels=LABELS,
    ),
    max_size=6,
    unique_by=lambda room: room.name,
)


@st.composite
def services(draw: st.DrawFn) -> list[Wanted]:
    found = []
    for name in draw(st.lists(st.sampled_from(("web", "db", "job", "api")), max_size=4, unique=True)):
        memory = draw(st.sampled_from((2, 16, 32, 100))) * M
        how, labels = draw(st.sampled_from(("spread", "pack"))), draw(st.one_of(st.just(frozenset()), LABELS))
        found += [Wanted(f"{name}.{n + 1}", name, memory, how, labels) for n in range(draw(st.integers(0, 6)))]
    return found


NOW = st.dictionaries(
    st.sampled_from([f"{name}.{n}" for name in ("web", "db", "gone") for n in range(1, 4)]), st.sampled_from("abcxyz")
)


def placed(wanted: Iterable[Wanted], rooms: Iterable[Room], now: dict[str, str]) -> dict[str, str] | None:
    try:
        return place(wanted, rooms, now)
    except NoPlace:
        return None


@settings(max_examples=200, deadline=None)
@given(services(), ROOMS, NOW, st.randoms(use_true_random=False))
def test_what_holds_for_all(
    wanted: list[Wanted], rooms: list[Room], now: dict[str, str], chance: random.Random
) -> None:
    found = placed(wanted, rooms, now)
    shuffled = [chance.sample(wanted, len(wanted)), chance.sample(rooms, len(rooms))]
    assert placed(shuffled[0], shuffled[1], now) == found
    if found is None:
        return
    by_name = {room.name: room for room in rooms}
    assert sorted(found) == sorted(vm.name for vm in wanted)
    used: Counter[str] = Counter()
    for vm in wanted:
        assert vm.labels <= by_name[found[vm.name]].labels
        used[found[vm.name]] += vm.memory
    assert all(used[room.name] <= room.memory for room in rooms)
    assert place(wanted, rooms, found) == found  # nothing has changed

    # A host goes: only what ran there moves. It comes back: nothing does.
    for gone in rooms:
        others = [room for room in rooms if room is not gone]
        after = placed(wanted, others, found)
        if after is not None:
            assert {vm: host for vm, host in after.items() if found[vm] != gone.name} == {
                vm: host for vm, host in found.items() if host != gone.name
            }
            assert place(wanted, rooms, after) == after
    # Fewer replicas: the others stay.
    fewer = wanted[: len(wanted) // 2]
    assert place(fewer, rooms, found) == {vm.name: found[vm.name] for vm in sorted(fewer, key=lambda vm: vm.name)}


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 40), st.integers(1, 6), st.sampled_from(("spread", "pack")))
def test_where_there_is_room(count: int, hosts: int, how: str) -> None:
    rooms = [Room(f"h{n}", 1 << 40) for n in range(hosts)]
    wanted = [Wanted(f"web.{n}", "web", 16 * M, "pack" if how == "pack" else "spread") for n in range(count)]
    counts = Counter(place(wanted, rooms, {}).values())
    if how == "pack":
        assert len(counts) == 1
    else:
        assert len(counts) == min(count, hosts)
        assert max(counts.values()) - min(counts.values()) <= 1


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=5), st.integers(0, 20), st.sampled_from(("spread", "pack")))
def test_equal_ones_find_each_place(slots: list[int], count: int, how: str) -> None:
    rooms = [Room(f"h{number}", size * 16 * M) for number, size in enumerate(slots)]
    wanted = [Wanted(f"web.{n}", "web", 16 * M, "pack" if how == "pack" else "spread") for n in range(count)]
    assert (placed(wanted, rooms, {}) is not None) == (count <= sum(slots))


def test_the_error_names_what_does_not_fit() -> None:
    rooms = [Room("east", 64 * M), Room("west", 640 * M)]
    wanted = [Wanted(f"db.{n}", "db", 32 * M) for n in (1, 2)] + [
        Wanted("web.1", "web", 100 * M, labels=frozenset({"ssd"}))
    ]
    with pytest.raises(NoPlace, match=r"web\.1 \(100M\) has no place on any host") as told:
        place(wanted, rooms, {})
    assert told.value.evidence == "east: has no label ssd\nwest: has no label ssd"
    rooms = [Room("east", 64 * M, labels=frozenset({"ssd"})), rooms[1]]
    with pytest.raises(NoPlace) as told:
        place(wanted, rooms, {"db.1": "east"})
    assert told.value.evidence == "east: 32M of 64M are left\nwest: has no label ssd"


def test_who_has_few_hosts_comes_first() -> None:
    rooms = [Room("a", 32 * M, labels=frozenset({"ssd"})), Room("b", 32 * M)]
    wanted = [Wanted("api", "api", 32 * M), Wanted("db", "db", 16 * M, labels=frozenset({"ssd"}))]
    assert place(wanted, rooms, {}) == {"api": "b", "db": "a"}


def test_more_processors_take_more() -> None:
    rooms = [Room("large", 1 << 40, cpus=3), Room("small", 1 << 40)]
    wanted = [Wanted(f"s{n}", f"s{n}", 16 * M) for n in range(8)]
    assert Counter(place(wanted, rooms, {}).values()) == {"large": 6, "small": 2}
