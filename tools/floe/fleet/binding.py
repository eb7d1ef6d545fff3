# SPDX-License-Identifier: MIT
"""libvirt's Python binding, which no package index has ready to use: Debian's python3-libvirt, or what the venv has.

A venv does not see Debian's packages, and shall not see all of them. The binding is a module and an extension, which is
loaded where it fits this interpreter.
"""

from __future__ import annotations

import functools
import importlib
import sys
import threading
from collections.abc import Sequence
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from types import ModuleType
from typing import Any

from floe.errors import NotFound

DEBIAN = "/usr/lib/python3/dist-packages"
_PARTS = ("libvirtmod", "libvirt")  # in the order in which one needs the other
_OF_QEMU = ("libvirtmod_qemu", "libvirt_qemu")
_APT = "sudo apt-get install -y --no-install-recommends python3-libvirt"
_once = threading.Lock()


def binding() -> Any:
    """The module `libvirt`, which says nothing by itself, and whose event loop runs. Raises NotFound."""
    with _once:
        return _ready()


def monitor() -> Any:
    """The module `libvirt_qemu`, by which QEMU's monitor is asked. Raises NotFound."""
    binding()
    with _once:
        return _load(_OF_QEMU)


@functools.cache
def _ready() -> Any:
    libvirt: Any = _load(_PARTS)
    libvirt.registerErrorHandler(lambda context, error: None, None)  # it would print each error
    libvirt.virEventRegisterDefaultImpl()  # keepalive is answered there, and streams tell their events
    threading.Thread(target=_turn, args=(libvirt,), name="libvirt's events", daemon=True).start()
    return libvirt


def _turn(libvirt: Any) -> None:
    while True:
        libvirt.virEventRunDefaultImpl()


def _load(parts: Sequence[str]) -> ModuleType:
    try:
        return importlib.import_module(parts[-1])
    except ImportError:
        pass
    loaded: dict[str, ModuleType] = {}
    try:
        for name in parts:
            spec = PathFinder.find_spec(name, [DEBIAN])
            if spec is None or spec.loader is None:
                raise NotFound("libvirt's Python binding is not installed", hint=_hint(name))
            sys.modules[name] = loaded[name] = module_from_spec(spec)
            spec.loader.exec_module(loaded[name])
    except BaseException as e:
        for name in loaded:
            sys.modules.pop(name, None)
        if isinstance(e, ImportError | OSError):
            raise NotFound(f"libvirt's Python binding cannot be loaded: {e}", hint=_APT) from None
        raise
    return loaded[parts[-1]]


def _hint(missing: str) -> str:
    """What is to do where a part is not there: Debian's extension fits Debian's own python3 alone."""
    if missing == _PARTS[0] and PathFinder.find_spec("libvirt", [DEBIAN]) is not None:
        return f"Debian's is for another Python than this {sys.version.split()[0]}: pip install libvirt-python"
    return _APT
