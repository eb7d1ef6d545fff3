# SPDX-License-Identifier: MIT
"""frozen/lib/gateway and what it imports, run by this Python: the engine and the cards are stand-ins."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from tests.support.fixtures import REPO

_LIB = REPO / "frozen" / "lib"
_OURS = ("appliance", "packet", "gateway")


class Lan:
    """A card as network.LAN() gives it."""

    def __init__(self, number: int, address: str) -> None:
        self.mac = bytes((2, 0, 0, 0, number + 1, 1))
        self.address = address

    def config(self, what: str) -> Any:
        return self.mac if what == "mac" else (1, 2, 3, 4, 5, 6, 7)

    def ipconfig(self, what: str) -> Any:
        assert what == "addr4"
        return self.address, "255.255.255.0"


class Engine:
    """What _packet and _packetrules are asked, and what they say."""

    def __init__(self, *addresses: str) -> None:
        self.cards = [Lan(i, address) for i, address in enumerate(addresses)]
        self.said: list[tuple[Any, ...]] = []
        self.routes: dict[str, tuple[Any, Any]] = {}
        self.errors: dict[str, int] = {}  # of routes
        self.program = b""
        self.full = False

    def add(self, prefix: str, via: Any, card: Any) -> None:
        if self.full:
            self.full = False
            raise MemoryError
        if prefix in self.errors:
            raise OSError(self.errors[prefix], "")
        self.routes[prefix] = (via, card)

    def track(self, flows: int) -> None:
        if flows == 99:
            raise OSError(12, "")
        self.said.append(("track", flows))

    def load(self, program: bytes) -> None:
        self.program = program

    def modules(self) -> dict[str, ModuleType]:
        note = self.said.append
        parts = {
            "network": {"LAN": lambda number: self.cards[number], "route": lambda: list(self.cards)},
            "_packet": {
                "add": self.add,
                "remove": self.routes.pop,
                "forward": lambda on: note(("forward", on)),
                "track": self.track,
                "counters": lambda: {"forwarded": 7, "forwarded_bytes": 700, "bad": 0},
                "routes": lambda: [("10.3.0.0", 16, "10.2.0.2", 1, "static")],
                "flows": self.flows,
            },
            "_packetrules": {
                "load": self.load,
                "unload": lambda: self.load(b""),
                "change": lambda number, content, is_map: note(("change", number, content)),
                "counts": lambda: [("web", 3, 300)],
                "lost": lambda: 2,
            },
        }
        return {name: _module(name, names) for name, names in parts.items()}

    @staticmethod
    def flows(cursor: int | None = None) -> Any:
        if cursor is None:
            return 1
        ends = (("10.0.0.9", 4000), ("192.0.2.7", 80), ("192.0.2.7", 80), ("198.51.100.1", 4001))
        return [(6, *ends, 5, 500, 4, 400, True)], -1


def _module(name: str, names: dict[str, Any]) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(names)
    return module


@contextmanager
def frozen(engine: Engine) -> Iterator[SimpleNamespace]:
    """The packages `gateway`, `packet` and `appliance` as a VM's script has them."""
    stubs = engine.modules()
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] in (*_OURS, *stubs)}
    sys.modules.update(stubs)
    try:
        yield SimpleNamespace(**{name: _package(_LIB / name) for name in _OURS})
    finally:
        for name in list(sys.modules):
            if name.split(".")[0] in (*_OURS, *stubs):
                del sys.modules[name]
        sys.modules.update(before)


def _package(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        folder.name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[folder.name] = module
    spec.loader.exec_module(module)
    return module


def settings(text: str, name: str = "router.toml") -> SimpleNamespace:
    """What appliance.Settings is of a file."""
    import tomllib

    return SimpleNamespace(file=name, tables=tomllib.loads(text))
