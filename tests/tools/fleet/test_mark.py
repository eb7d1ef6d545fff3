# SPDX-License-Identifier: MIT
"""tools/floe/fleet/mark.py: what a domain says of itself, and what others wrote there."""

from __future__ import annotations

import hashlib
from xml.etree import ElementTree

import pytest

from floe.fleet import mark
from floe.fleet.mark import Mark

MARK = Mark(app='a "<b>" & \x1b c.py', profile="dev", image="0" * 64, memory=1 << 20, code=3, cause="exit", at=1.5)


def inside(metadata: ElementTree.Element) -> ElementTree.Element:
    root = ElementTree.Element("domain")
    root.append(metadata)
    return ElementTree.fromstring(ElementTree.tostring(root))


def test_what_was_written_is_read() -> None:
    assert mark.of(inside(MARK.element())) == MARK
    alone = ElementTree.fromstring(
        f"<metadata xmlns:f='{mark.NAMESPACE}'>{MARK.text().replace('vm>', 'f:vm>')}</metadata>"
    )
    assert mark.of(inside(alone)) == MARK


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"app": 1}', "\u00e9", '{"app": "a", "profile": "dev", "image": "", "memory": "x"}']
)
def test_what_makes_no_sense_is_no_mark(text: str) -> None:
    metadata = MARK.element()
    metadata[0].text = text
    assert mark.of(inside(metadata)) is None


def test_without_the_element() -> None:
    assert mark.of(ElementTree.fromstring("<domain><metadata/></domain>")) is None
    assert mark.of(ElementTree.fromstring("<domain/>")) is None


def test_the_digest_is_of_what_is_handed_over() -> None:
    one, two = "0c2e7a34-27b1-4b5c-9d10-000000000001", "0c2e7a34-27b1-4b5c-9d10-000000000002"
    first = mark.digest_of(one, "line", {"a": b"1", "b": b"2"})
    assert first == mark.digest_of(one, "line", {"b": b"2", "a": b"1"})
    assert first != mark.digest_of(one, "line", {"a": b"12", "b": b""})
    assert first != mark.digest_of(one, "lines", {"a": b"1", "b": b"2"})
    assert first != mark.digest_of(two, "line", {"a": b"1", "b": b"2"})  # who tries secrets tries them for each VM anew


def test_the_digest_of_a_command_line_alone_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashlib, "scrypt", None)  # whoever calls it fails
    own = "0c2e7a34-27b1-4b5c-9d10-000000000001"
    assert mark.digest_of(own, "a", {}) == mark.digest_of(own, "a", {}) != mark.digest_of(own, "b", {})
