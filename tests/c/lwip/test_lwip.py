# SPDX-License-Identifier: MIT
"""The stack's own parts on the host, with sanitizers: checks.c one by one, and fuzz.c for some seconds."""

from __future__ import annotations

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent
LWIP = ROOT / "build/upstream/lwip/src"
BUILD_DEADLINE_S = 180
DEADLINE_S = 120
FUZZ_FRAMES = 600_000
CHECKS = [
    "sum",
    "siphash",
    "software",
    "offload",
    "tso",
    "order_of_ends",
    "orphan",
    "syn_flood",
    "syn_cookies",
    "syn_options",
    "close_unread",
    "prompt_ack",
    "ports",
    "backlog",
    "hoarding",
    "stuck_card",
    "dropped_whole",
    "padded",
    "kept_frames",
    "vlan",
    "closed_window",
    "out_of_memory",
    "time_wait",
    "udp_refused",
    "groups",
    "path_mtu",
    "path_mtu_lie",
    "claimed",
    "redirected",
    "duplicate",
    "duplicates",
    "disbelieved",
    "ip_ids",
    "malformed",
    "copied",
    "copied_inside",
    "copied_card",
    "copied_fixed",
    "copied_lease",
    "copied_names",
    "copied_keys",
    "copied_datagrams",
    "copied_routers",
    "resumed",
    "joined",
    "joined_refused",
    "time_wait_most",
    "random_numbers",
    "socket_names",
    "socket_options",
    "socket_readable",
    "socket_stands_on",
    "owned",
    "query_unanswered",
    "orphan_halfway",
    "words",
    "boot_words",
    "boot_words_wrong",
    "boot_words_odd",
    "boot_words_none",
    "boot_words_dhcp",
    "pending",
]
FLAGS = [
    "-g",
    "-O1",
    "-std=gnu11",
    "-fno-omit-frame-pointer",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-delete-null-pointer-checks",
    *(f"-I{ROOT / d}" for d in ("", "port/hal", "modules/netdev", "modules/lwip")),
    f"-I{LWIP / 'include'}",
]
# Upstream's warnings are not ours to mend, nor is that it takes a member's address through a null pointer.
UPSTREAM_FLAGS = ["-w", "-fno-sanitize=null"]
OUR_FLAGS = ["-Wall", "-Wextra", "-Werror"]


def _sources() -> dict[Path, list[str]]:
    ours = [p for p in (ROOT / "modules/lwip").glob("*.c") if not p.name.startswith("mod_")]
    ours += [
        ROOT / "modules/packet/packetover.c",
        ROOT / "modules/packet/packetvlan.c",
        ROOT / "modules/netdev/netdev.c",
        ROOT / "port/hal/copied.c",
        *HERE.glob("*.c"),
    ]
    # nettimer.c stands in for timeouts.c.
    upstream = [p for d in ("core", "core/ipv4", "core/ipv6") for p in (LWIP / d).glob("*.c") if p.name != "timeouts.c"]
    upstream.append(LWIP / "netif/ethernet.c")
    assert len(upstream) > 25, f"{LWIP} is incomplete; try: make setup"
    flags = dict.fromkeys(ours, OUR_FLAGS) | dict.fromkeys(upstream, UPSTREAM_FLAGS)
    mtu = ["nd6_get_destination_mtu=nettx_path_mtu"]
    renamed = {"core/tcp": mtu, "core/ipv6/ip6": mtu, "core/ipv6/ip6_frag": mtu}
    renamed["core/ipv6/icmp6"] = ["nd6_input=netneigh_icmp6", "mld6_input=netneigh_icmp6"]
    renamed["netif/ethernet"] = ["etharp_input=netneigh_arp"]
    for name, defines in renamed.items():  # as modules/lwip/lwip.mk
        flags[LWIP / f"{name}.c"] = [*UPSTREAM_FLAGS, *(f"-D{define}" for define in defines)]
    return flags


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """checks and fuzz, compiled."""
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    assert compiler is not None, "neither gcc nor clang is installed; try: apt-get install gcc"
    out = tmp_path_factory.mktemp("lwip")
    objects: dict[Path, Path] = {}

    def run(argv: list[str]) -> None:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=BUILD_DEADLINE_S, check=False)
        assert done.returncode == 0, f"{' '.join(argv)}\n{done.stderr}"

    def compile_one(source: Path, extra: list[str]) -> None:
        run([compiler, *FLAGS, *extra, "-c", str(source), "-o", str(objects[source])])

    sources = _sources()
    for number, source in enumerate(sources):
        objects[source] = out / f"{number}-{source.stem}.o"
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(compile_one, sources, sources.values()))
    mains = {name: HERE / f"{name}.c" for name in ("checks", "fuzz")}
    common = [str(objects[source]) for source in sources if source not in mains.values()]
    for name, main in mains.items():
        run([compiler, *FLAGS, str(objects[main]), *common, "-o", str(out / name)])
    return {name: out / name for name in mains}


def _run(*argv: str | Path) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, argv))} ended with {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_all_checks_are_run(programs: dict[str, Path]) -> None:
    assert _run(programs["checks"]).split() == CHECKS


@pytest.mark.parametrize("name", CHECKS)
def test_check(programs: dict[str, Path], name: str) -> None:
    assert _run(programs["checks"], name) == "ok\n"


@pytest.mark.parametrize("seed", ["1", "2", "3", "4"])
def test_fuzz(programs: dict[str, Path], seed: str) -> None:
    assert _run(programs["fuzz"], seed, str(FUZZ_FRAMES)) == "ok\n"
