# SPDX-License-Identifier: MIT
"""frozen/lib/packet, imported by this Python under a name that is nobody else's, and without its __init__.py, which
needs the engine."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

from tests.support.fixtures import REPO

NAME = "frozen_packet"


def part(name: str) -> Any:
    """One of its modules: "rules", "compiler"..."""
    if NAME not in sys.modules:
        package = ModuleType(NAME)
        package.__path__ = [str(REPO / "frozen" / "lib" / "packet")]
        sys.modules[NAME] = package
    return importlib.import_module(f"{NAME}.{name}")


rules = part("rules")
