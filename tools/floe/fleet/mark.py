# SPDX-License-Identifier: MIT
"""What makes a domain one of ours: an element in its `<metadata>`, which any client on any machine reads. A domain
without it is somebody else's, and is neither shown nor touched."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

import msgspec

NAMESPACE = "urn:floe:vm:1"
PREFIX = "floe"
_COST = {"n": 1 << 12, "r": 8, "p": 1, "dklen": 16}  # of scrypt: some ms for us, dear for who guesses a short secret


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """What is written down of a VM. Who wrote it is not known: nothing of it is a path or a command."""

    app: str
    profile: str
    image: str  # SHA-256 of the ELF
    memory: int  # bytes
    ports: list[dict[str, Any]] = []  # as Forward.told()
    created: float = 0.0  # time.time() of who started it
    begun: float = 0.0  # the same of its first start, with which its log begins
    verified: bool = False  # only what was signed runs in it
    environment: str = ""  # digest_of()
    project: str = ""  # of compose, with the service and its number there
    service: str = ""
    replica: int = 0
    addresses: dict[str, str] = {}  # in the networks of its project, by their names; "" where it is not known
    cards: list[str] = []  # in these networks, as --net has them
    ready: bool = False  # it has become so, for those that come after it
    scales: dict[
        str, tuple[int, int]
    ] = {}  # of all of that project: how many are wanted, in place of how many were said
    scaled: float = 0.0  # time.time() of who wanted that
    code: int | None = None  # how it ended, once somebody has seen it; the exit code,
    cause: str = ""  # as vm.Outcome,
    at: float = 0.0  # and time.time() then

    def text(self) -> str:
        """The element alone, as virDomainSetMetadata() takes it."""
        return f"<vm>{_escaped(msgspec.json.encode(self).decode())}</vm>"

    def element(self) -> ElementTree.Element:
        """The `<metadata>` of a new domain."""
        whole = ElementTree.Element("metadata")
        own = ElementTree.SubElement(whole, f"{PREFIX}:vm", {f"xmlns:{PREFIX}": NAMESPACE})
        own.text = msgspec.json.encode(self).decode()
        return whole


def of(domain: ElementTree.Element) -> Mark | None:
    """The mark in a domain's XML; None where there is none that makes sense."""
    own = domain.find(f"metadata/{{{NAMESPACE}}}vm")
    if own is None:
        return None
    try:
        return msgspec.json.decode(own.text or "", type=Mark)
    except msgspec.MsgspecError:
        return None


def digest_of(uuid_text: str, line: str, handed: Mapping[str, bytes]) -> str:
    """A VM's command line and what it is handed, by name, as a digest that is the same for the same: whoever sees
    domains sees it, and must not find a short secret by trying. The line alone is no secret: the domain has it."""
    told = msgspec.json.encode(
        [line, {name: hashlib.sha256(content).hexdigest() for name, content in sorted(handed.items())}]
    )
    if not handed:
        return hashlib.sha256(told).hexdigest()
    return hashlib.scrypt(told, salt=uuid.UUID(uuid_text).bytes, **_COST).hex()


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
