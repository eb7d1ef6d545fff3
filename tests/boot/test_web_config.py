# SPDX-License-Identifier: MIT
"""images/web/siteconfig.py, run by CPython: what is wrong in a [[host]] is told with file, host and key."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.boot.webguest import DATA
from tests.support.imagecode import imported


class SettingsError(ValueError):
    """As appliance's."""


@pytest.fixture(scope="module")
def siteconfig() -> Iterator[Any]:
    """The module of the guest."""
    stub = ModuleType("appliance")
    stub.SettingsError = SettingsError  # type: ignore[attr-defined]  # a module is given it here
    with imported(DATA.parent, "siteconfig", {"appliance": stub}) as module:
        yield module


def read(siteconfig: Any, text: str) -> list[Any]:
    found: list[Any] = siteconfig.read_hosts(SimpleNamespace(file="/web.toml", tables=tomllib.loads(text), site="/rom"))
    return found


def test_a_host(siteconfig: Any) -> None:
    text = """
    [[host]]
    names = ["A.test", "*.a.test."]
    headers = {X-A = "b c"}
    cache = "max-age=5"
    redirects = [{from = "/a/*", to = "/b/*", status = 307}]
    [[host.proxy]]
    path = "/api/*"
    upstreams = ["web1:80"]
    connect_s = 2
    [[host]]
    """
    first, second = read(siteconfig, text)
    assert (first.names, first.root, first.headers) == (["a.test", "*.a.test"], "/rom", {"X-A": "b c"})
    assert (first.cache, first.redirects) == ({"/*": "max-age=5"}, [("/a/*", "/b/*", 307)])
    assert first.proxy == [("/api/*", ["web1:80"], {"connect_s": 2}, "/web.toml: host 1: proxy")]
    assert (second.label(), second.api, second.cache) == ("default", False, {"/*": "no-cache"})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[server]", "[server] is no table of it"),
        ("[host]", "[host]: expected [[host]]"),
        ("[[host]]\nroots = 1", "host 1: roots is no key of a host"),
        ("[[host]]\nlabel = 1", "host 1: label is no key of a host"),
        ("[[host]]\n[[host]]", "host 2: there is a host without names"),
        ('[[host]]\nnames=["a"]\n[[host]]\nnames=["b", "A"]', "host 2: names: a is host 1, too"),
        ('[[host]]\nnames = "a"', "host 1: names = 'a': expected a list"),
        ('[[host]]\nnames = ["a:80"]', "host 1: names: a:80 is no name of a host"),
        ('[[host]]\nnames = ["a.*"]', "host 1: names: a.* is no name of a host"),
        ("[[host]]\nnames = [1]", "host 1: names = 1: expected text"),
        ("[[host]]\nindex = 1", "host 1: index = 1: expected true or false"),
        ("[[host]]\nroot = 1", "host 1: root = 1: expected text"),
        ('[[host]]\nheaders = {X = "a\\r\\nSet-Cookie: b"}', "host 1: headers: X = "),
        ('[[host]]\nheaders = {X = "a\\tb"}', "has a character that no header may have"),
        ('[[host]]\nheaders = {"X: y\\r\\nZ" = "a"}', "is no name of a header field"),
        ('[[host]]\nheaders = {Content-Length = "5"}', "host 1: headers: Content-Length is the server's own"),
        ("[[host]]\nheaders = {X = 5}", "host 1: headers: X = 5: expected text"),
        ('[[host]]\ncache = {"assets" = "x"}', "host 1: cache: assets = assets: expected a path"),
        ('[[host]]\ncache = "a\\nb"', "has a character that no header may have"),
        ('[[host]]\nredirects = ["/a"]', "host 1: redirects = '/a': expected tables"),
        ('[[host]]\nredirects = [{from = "/a"}]', "host 1: redirects: /a: to = None: expected text"),
        ('[[host]]\nredirects = [{from = "/a", to = "//evil"}]', "to = //evil: expected /path"),
        ('[[host]]\nredirects = [{from = "/a", to = "ftp://x/"}]', "to = ftp://x/: expected /path"),
        ('[[host]]\nredirects = [{from = "/a", to = "/b*"}]', "`*` stands at the end"),
        ('[[host]]\nredirects = [{from = "/a", to = "/b\\r\\nX: y"}]', "has a character that no header may have"),
        ('[[host]]\nredirects = [{from = "/a", to = "/b", status = 200}]', "status = 200: one of 301, 302"),
        ('[[host]]\nredirects = [{from = "/a", to = "/b", status = 301.0}]', "status = 301.0: one of 301, 302"),
        ('[[host]]\nredirects = [{from = "/a", to = "/b", code = 301}]', "code is no key of a redirect"),
        ('[[host]]\n[[host.proxy]]\npath = "/a"', "host 1: proxy: upstreams = None: expected a list"),
        ("[[host]]\nproxy = 5", "host 1: proxy = 5: expected a list"),
    ],
)
def test_what_is_refused(siteconfig: Any, text: str, problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(siteconfig, text)
    assert str(caught.value).startswith("/web.toml: ") and problem in str(caught.value)
    assert "\n" not in str(caught.value) and "\r" not in str(caught.value)
