# SPDX-License-Identifier: MIT
"""frozen/lib/gateway/inforce.py, views.py and measure.py: all of a plan or nothing, tables, numbers."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from tests.gateway.frozen import Engine, frozen, settings

FILE = """
[cards]
wan = 0
lan = 1
[[route]]
to = "10.3.0.0/16"
via = "10.1.0.2"
[[forward]]
in = "wan"
port = 8080
to = "10.1.0.5"
"""


@pytest.fixture
def engine() -> Engine:
    return Engine("192.0.2.1", "10.1.0.1")


@pytest.fixture
def lib(engine: Engine) -> Iterator[SimpleNamespace]:
    with frozen(engine) as lib:
        yield lib


def test_a_plan_in_force_and_the_next(lib: SimpleNamespace, engine: Engine) -> None:
    gateway = lib.gateway.Gateway(10000)
    plan = lib.gateway.Plan(settings(FILE))
    gateway.use(plan, plan.rule_set())
    assert engine.said == [("track", 10000), ("forward", True)]
    assert engine.routes == {"10.3.0.0/16": ("10.1.0.2", None)} and gateway.problems() is True
    first = engine.program
    other = lib.gateway.Plan(settings(FILE.replace("10.3.0.0", "10.4.0.0").replace("8080", "8081")))
    gateway.use(other, other.rule_set())
    assert engine.routes == {"10.4.0.0/16": ("10.1.0.2", None)} and engine.program != first
    assert engine.said[2:] == []  # neither flows nor forwarding begin anew


def test_what_cannot_be_leaves_all_as_it_was(lib: SimpleNamespace, engine: Engine) -> None:
    gateway = lib.gateway.Gateway()
    plan = lib.gateway.Plan(settings(FILE))
    engine.errors["10.3.0.0/16"] = errno.ENOSPC
    with pytest.raises(lib.appliance.SettingsError, match=r"route 10\.3\.0\.0/16: there are too many routes"):
        gateway.use(plan, plan.rule_set())
    assert (engine.program, engine.said, engine.routes, gateway.plan) == (b"", [], {}, None)
    engine.errors.clear()
    gateway.use(plan, plan.rule_set())
    before = engine.program
    engine.errors["10.5.0.0/16"] = errno.EEXIST
    text = FILE.replace("10.3.0.0/16", "10.4.0.0/16") + '[[route]]\nto = "10.5.0.0/16"\nvia = "10.1.0.2"\n'
    other = lib.gateway.Plan(settings(text.replace("8080", "8081")))
    with pytest.raises(lib.appliance.SettingsError, match=r"route 10\.5\.0\.0/16: is an address of this machine"):
        gateway.use(other, other.rule_set())
    assert engine.program == before and engine.routes == {"10.3.0.0/16": ("10.1.0.2", None)} and gateway.plan is plan
    bad = lib.packet.RuleSet(forward=[lib.packet.rule(dport=80) >> lib.packet.accept])
    with pytest.raises(lib.packet.RuleError):
        gateway.use(other, bad)
    assert engine.program == before and gateway.plan is plan


def test_what_there_is_no_memory_for(lib: SimpleNamespace, engine: Engine) -> None:
    plan = lib.gateway.Plan(settings(FILE))
    with pytest.raises(lib.appliance.SettingsError, match="flows = 99: there is no memory for so many"):
        lib.gateway.Gateway(99).use(plan, plan.rule_set())
    gateway = lib.gateway.Gateway()
    gateway.use(plan, plan.rule_set())
    before = engine.program
    other = lib.gateway.Plan(settings(FILE.replace("10.3.0.0", "10.4.0.0").replace("8080", "8081")))
    engine.full = True
    with pytest.raises(MemoryError):
        gateway.use(other, other.rule_set())
    assert engine.program == before and engine.routes == {"10.3.0.0/16": ("10.1.0.2", None)} and gateway.plan is plan


def test_what_comes_later(lib: SimpleNamespace, engine: Engine) -> None:
    """A card's address by DHCP, and with it the network of a gateway."""
    engine.cards[0].address = "0.0.0.0"
    engine.errors["10.3.0.0/16"] = errno.EHOSTUNREACH
    gateway = lib.gateway.Gateway()
    plan = lib.gateway.Plan(settings(FILE))
    gateway.use(plan, plan.rule_set())
    assert gateway.problems() == "no card's network has the gateway of: 10.3.0.0/16"
    assert list(plan.addresses[0]) == [] and not engine.routes
    gateway.refresh()
    engine.errors.clear()
    engine.cards[0].address = "192.0.2.50"
    gateway.refresh()
    assert gateway.problems() is True and list(plan.addresses[0]) == ["192.0.2.50"]
    assert engine.routes == {"10.3.0.0/16": ("10.1.0.2", None)}
    assert engine.said[-1] == ("change", 0, bytes((50, 2, 0, 192)) * 2)


def test_tables(lib: SimpleNamespace, engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    for view in (lib.gateway.routes, lib.gateway.flows, lib.gateway.counters, lib.gateway.rules):
        view()
    assert capsys.readouterr().out.splitlines() == [
        "to           via       card  kind",
        "10.3.0.0/16  10.2.0.2     1  static",
        "proto  from           to            translated                         sent  back  bytes",
        "tcp    10.0.0.9:4000  192.0.2.7:80  198.51.100.1:4001 -> 192.0.2.7:80     5     4    900",
        "1 of 1 flows",
        "packets          count",
        "forwarded            7",
        "forwarded_bytes    700",
        "rule  packets  bytes",
        "web         3    300",
        "2 records of the log were lost",
    ]


def test_metrics(lib: SimpleNamespace, engine: Engine) -> None:
    from importlib import import_module

    gateway = lib.gateway.Gateway()
    plan = lib.gateway.Plan(settings(FILE))
    gateway.use(plan, plan.rule_set())
    metrics = import_module("appliance.metrics").Metrics()
    lib.gateway.measure(metrics, gateway)
    lines = [line for line in metrics.text().splitlines() if not line.startswith("#")]
    assert 'packet_packets_total{result="forwarded"} 7' in lines and "packet_forwarded_bytes_total 700" in lines
    assert 'packet_rule_bytes_total{rule="web"} 300' in lines and "packet_log_lost_total 2" in lines
    assert 'packet_card_bytes_total{card="lan",what="sent"} 5' in lines
    assert 'packet_card_frames_total{card="lan",what="dropped"} 3' in lines and "packet_flows 1" in lines
