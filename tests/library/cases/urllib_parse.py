# SPDX-License-Identifier: MIT
import urllib.parse
from urllib.parse import (
    parse_qs,
    parse_qsl,
    quote,
    quote_from_bytes,
    quote_plus,
    unquote,
    unquote_plus,
    unquote_to_bytes,
    urldefrag,
    urlencode,
    urljoin,
    urlparse,
    urlsplit,
    urlunparse,
    urlunsplit,
)


def tried(f, *args, **kw):
    try:
        print(f(*args, **kw))
    except Exception as e:
        print(type(e).__name__)


text = "a b/c?d=é&f+g~h%20-_.!*'()€😀\x00\n"
print(
    quote(text),
    quote(text, safe=""),
    quote_plus(text),
    quote(text, "é?"),
    quote(b"\xff a/"),
    quote_from_bytes(b"a\xfe/"),
)
for one in (
    quote(text),
    "a+b%20c",
    "%",
    "%4",
    "%zz%41",
    "%C3%A9",
    "%ff",
    "%e2%82",
    "%e2%82%ac%f0%9f%98%80",
    "%c0%80x",
    "é%41",
):
    print(unquote(one).encode(), unquote_plus(one).encode(), unquote_to_bytes(one))
for bad in (
    "%ff",
    "%c3",
    "%ed%a0%80",
    "%f5%80%80%80",
    "%f0%80%80%80",
    "%e0%80%80",
    "%f4%90%80%80",
    "%80%80",
    "%f0%9f%98x",
):
    print(unquote("<" + bad + ">").encode())
try:
    print(unquote("%ff", errors="strict"))
except UnicodeError:
    print("UnicodeError")
for query in ("a=1&b=2&a=3", "a=&b", "a=1;b=2", "", "a=%41+x&&c=d=e", "=x", "a"):
    print(sorted(parse_qs(query).items()), parse_qsl(query), parse_qsl(query, keep_blank_values=True))
    tried(parse_qsl, query, strict_parsing=True)
print(parse_qsl("a=1;b=2", separator=";"))
tried(parse_qsl, "a=1&b=2", max_num_fields=1)
print(
    urlencode([("a", 1), ("b c", "é&"), ("d", [1, 2])]),
    urlencode([("a", [1, "x y"]), ("b", "xy"), ("c", (3,))], doseq=True),
)
print(
    urlencode({"q": "a b/c"}, quote_via=quote),
    urlencode({"q": "a b/c"}, quote_via=quote, safe="/"),
    urlencode({"q": b"\xff"}),
)
for url in (
    "https://user:pa%40ss@Example.COM:8443/a/b;p=1/c;q?x=1&y=2#frag", "http://[2001:DB8::1%eth0]:80/", "//host/path", "/path?q",
    "mailto:me@example.org", "http://host", "http://host?q#f", "path;x", "", "HTTP://A", "a:b:c", "1a:b", "file:///etc/x",
    "http://host:/x", "http://@host/", "http://u@h:1", "  http://h/\n", "tel:+1", "s3+x-y.z://b/k", "http://h/;a/b;c?d;e",
):  # fmt: skip
    s = urlsplit(url)
    print(s, s.geturl(), s.username, s.password, s.hostname, s.port)
    p = urlparse(url)
    print(p, p.geturl() == urlunparse(p), urlunsplit(s), p.scheme, p[1], p.params, len(p), tuple(p) == p)
tried(lambda: urlsplit("http://h:x/").port)
tried(lambda: urlsplit("http://h:99999/").port)
tried(urlsplit, "http://[::1/")
print(
    urlsplit("//h/p", scheme="https"),
    urlsplit("p#f", allow_fragments=False),
    urldefrag("http://h/p?q#f"),
    urldefrag("p"),
)
print(
    urldefrag("http://h/p?q#f").url,
    urldefrag("http://h#").geturl(),
    urlsplit("http://h/p")._replace(query="a=1").geturl(),
)
tried(lambda: urlsplit("http://h/p")._replace(nothing=1))
base = "http://a/b/c/d;p?q"
for url in (
    "g:h", "g", "./g", "g/", "/g", "//g", "?y", "g?y", "#s", "g#s", "g?y#s", ";x", "g;x", "g;x?y#s", "", ".", "./", "..", "../",
    "../g", "../..", "../../", "../../g", "../../../g", "../../../../g", "/./g", "/../g", "g.", ".g", "g..", "..g", "./../g",
    "./g/.", "g/./h", "g/../h", "g;x=1/./y", "g;x=1/../y", "http:g", "https://x/y", "mailto:x", "a//b", "g?y/./x", "g#s/../x",
):  # fmt: skip
    print(url, urljoin(base, url))
print(
    urljoin("", "x"),
    urljoin("http://a", "b"),
    urljoin("http://a/b/", "c"),
    urljoin("/a/b", "c"),
    urljoin("a/b", "../../c"),
)
print(
    urljoin("mailto:a@b", "c"), urljoin("ws://h/a/b", "c"), urljoin("file:///a/b", "c"), urljoin("http://a/b?c", "#d")
)
print(urllib.parse.uses_netloc is not None)
