# SPDX-License-Identifier: MIT
"""The experiments there are. A module of this package has `prepare(options)`, which builds what is compared and returns
an Experiment; it is imported when it is asked for."""

from __future__ import annotations

import importlib
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from floe.bench.experiment import Experiment, Options
from floe.errors import UsageError

ALL = "all"
# name: what `floe bench --help` says; the module has the same name.
EXPERIMENTS: dict[str, str] = {
    "boot": "from the VM's start to kernel, first line and first byte; one VM, ten at once",
    "http": "requests at rising rates, and as fast as they are answered; latency, errors",
    "dns": "questions by UDP at rising rates: what is lost, how long an answer takes",
    "net": "bulk data by TCP and UDP, to the server and from it",
    "forward": "TCP, UDP and small datagrams through a router with two cards",
    "redis": "GET and SET by redis-benchmark, 1 and 50 connections, 1 and 16 commands ahead",
    "mqtt": "messages to 1 and 20 subscribers, QoS 0 and 1: how many a second, how late",
    "cpu": "loops of Python as bytecode, native and viper, in VMs and processes",
    "memory": "the least RAM that says a line, serves 32 and 500 connections",
    "density": "host memory and processor time of idle VMs, 1 to 100 of them",
    "size": "bytes of images, of their parts, and of each import",
    "scale": "random VMs of many ended and started again: time until reachable",
}


# What each that compares servers has a peer serve (peers.Service).
SERVES: dict[str, tuple[str, ...]] = {
    "http": ("static", "json", "microdot"),
    "dns": ("dns",),
    "net": ("bulk",),
    "redis": ("redis",),
    "mqtt": ("mqtt",),
}


def chosen(names: Sequence[str]) -> list[str]:
    """In the order of the table, each once. Raises UsageError."""
    for name in names:
        if name not in EXPERIMENTS and name != ALL:
            raise UsageError(f"there is no experiment {name}", hint=f"one of {', '.join([*EXPERIMENTS, ALL])}")
    return [name for name in EXPERIMENTS if ALL in names or name in names]


def check_peers(files: Sequence[Path], names: Sequence[str]) -> None:
    """Before anything is built, read the user's peers, and ask that one of the experiments compares with each. Raises
    ConfigError, NotFound, UsageError."""
    from floe.bench import peers

    for file in files:
        serves = peers.load(file).serves
        suiting = [name for name, services in SERVES.items() if set(services) & set(serves)]
        if not set(suiting) & set(names):
            problem = f"--peer {file} serves {', '.join(serves)}, which {', '.join(names)} does not compare"
            raise UsageError(problem, hint=f"floe bench {suiting[0]} --peer {shlex.quote(str(file))}")


def prepare(name: str, options: Options) -> Experiment:
    """Raises what the experiment's builds do."""
    return cast(Experiment, importlib.import_module(f"floe.bench.{name}").prepare(options))
