# SPDX-License-Identifier: MIT
"""Modules of an image, run by this Python: plain code that needs nothing of a guest."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType


@contextlib.contextmanager
def imported(folder: Path, name: str, stubs: Mapping[str, ModuleType] | None = None) -> Iterator[ModuleType]:
    """A module of the image in `folder`, and what that one imports. `stubs` stand in for modules of the guest's.

    Images have modules of the same names: meanwhile these are this image's, and afterwards what they were before."""
    own = {path.stem for path in folder.glob("*.py")} | set(stubs or {})
    before = {name: sys.modules.pop(name) for name in own if name in sys.modules}
    sys.modules.update(stubs or {})
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))
        for known in own:
            sys.modules.pop(known, None)
        sys.modules.update(before)
