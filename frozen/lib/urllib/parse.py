# SPDX-License-Identifier: MIT
# CPython's urllib.parse, for strings. Text is UTF-8, and what is no UTF-8 becomes U+FFFD, as CPython has it by default.

from collections import namedtuple

_ALWAYS_SAFE = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~"
_SCHEME = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-."
_HEX = "0123456789abcdefABCDEF"
_DOUBTFUL = b"\xc0\xc1\xe0\xed\xf0\xf4\xf5\xf6\xf7\xf8\xf9\xfa\xfb\xfc\xfd\xfe\xff"  # in front of what may be no UTF-8

# Schemes whose URLs may be relative, have a host, and have parameters behind a semicolon.
uses_relative = ["", "ftp", "http", "gopher", "nntp", "imap", "wais", "file", "https", "shttp", "mms", "prospero"]
uses_relative += ["rtsp", "rtspu", "sftp", "svn", "svn+ssh", "ws", "wss"]
uses_netloc = uses_relative + ["telnet", "snews", "rsync", "nfs", "git", "git+ssh"]
uses_params = ["", "ftp", "hdl", "prospero", "http", "imap", "https", "shttp", "rtsp", "rtspu", "sip", "sips", "mms"]
uses_params += ["sftp", "tel"]


def _decoded(raw):
    """UTF-8 to text; what is none becomes U+FFFD. The built-in conversion knows no overlong forms and no surrogates."""
    if not any(c in _DOUBTFUL for c in raw):
        try:
            return str(raw, "utf-8")
        except UnicodeError:
            pass
    text = []
    while raw:
        first = raw[0]
        low, high = 0x80, 0xBF  # of the second byte
        wanted = 1
        if 0xC2 <= first <= 0xDF:
            wanted = 2
        if 0xE0 <= first <= 0xEF:
            wanted = 3
            low = 0xA0 if first == 0xE0 else low
            high = 0x9F if first == 0xED else high
        if 0xF0 <= first <= 0xF4:
            wanted = 4
            low = 0x90 if first == 0xF0 else low
            high = 0x8F if first == 0xF4 else high
        n = 1
        while n < wanted and n < len(raw) and low <= raw[n] <= high:
            low, high = 0x80, 0xBF
            n += 1
        whole = n == wanted and (n > 1 or first < 0x80)
        text.append(str(raw[:n], "utf-8") if whole else "\ufffd")
        raw = raw[n:]
    return "".join(text)


def _utf8_only(encoding):
    if encoding is not None and encoding.lower() not in ("utf-8", "utf8", "ascii"):
        raise LookupError("unknown encoding: " + encoding)


def quote_from_bytes(bs, safe="/"):
    if isinstance(bs, str):
        raise TypeError("quote_from_bytes() expected bytes")
    plain = _ALWAYS_SAFE + (safe.encode() if isinstance(safe, str) else safe)
    return "".join(chr(c) if c in plain and c < 128 else "%%%02X" % c for c in bs)


def quote(string, safe="/", encoding=None, errors=None):
    if isinstance(string, str):
        _utf8_only(encoding)
        string = string.encode()
    elif encoding is not None:
        raise TypeError("quote() doesn't support 'encoding' for bytes")
    return quote_from_bytes(string, safe)


def quote_plus(string, safe="", encoding=None, errors=None):
    space = b" " if isinstance(safe, bytes) else " "
    return quote(string, safe + space, encoding, errors).replace(" ", "+")


def unquote_to_bytes(string):
    if isinstance(string, str):
        string = string.encode()
    first, *pieces = bytes(string).split(b"%")
    out = [first]
    for piece in pieces:
        digits = piece[:2]
        if len(digits) == 2 and all(chr(c) in _HEX for c in digits):
            out.append(bytes((int(digits, 16),)))
            piece = piece[2:]
        else:
            out.append(b"%")
        out.append(piece)
    return b"".join(out)


def unquote(string, encoding="utf-8", errors="replace"):
    _utf8_only(encoding)
    if isinstance(string, str) and "%" not in string:
        return string
    raw = unquote_to_bytes(string)
    if errors == "replace":
        return _decoded(raw)
    if errors != "strict":
        raise ValueError("errors: only 'replace' and 'strict' are there")
    return str(raw, "utf-8")


def unquote_plus(string, encoding="utf-8", errors="replace"):
    return unquote(string.replace("+", " "), encoding, errors)


def urlencode(query, doseq=False, safe="", encoding=None, errors=None, quote_via=quote_plus):
    def text(value):
        return quote_via(value if isinstance(value, (str, bytes)) else str(value), safe)

    out = []
    for key, value in query.items() if hasattr(query, "items") else query:
        many = doseq and not isinstance(value, (str, bytes)) and hasattr(value, "__len__")
        if doseq and not many and not isinstance(value, (str, bytes)):
            try:
                value = list(value)
                many = True
            except TypeError:
                pass
        for one in value if many else (value,):
            out.append(text(key) + "=" + text(one))
    return "&".join(out)


def parse_qsl(qs, keep_blank_values=False, strict_parsing=False, encoding="utf-8", errors="replace",
              max_num_fields=None, separator="&"):  # fmt: skip
    if not separator or not isinstance(separator, str):
        raise ValueError("Separator must be of type string or bytes.")
    pieces = qs.split(separator) if qs else []
    if max_num_fields is not None and len(pieces) > max_num_fields:
        raise ValueError("Max number of fields exceeded")
    out = []
    for piece in pieces:
        if not piece and not strict_parsing:
            continue
        name, equals, value = piece.partition("=")
        if not equals and strict_parsing:
            raise ValueError("bad query field: %r" % (piece,))
        if value or keep_blank_values:
            out.append((unquote_plus(name, encoding, errors), unquote_plus(value, encoding, errors)))
    return out


def parse_qs(qs, keep_blank_values=False, strict_parsing=False, encoding="utf-8", errors="replace",
             max_num_fields=None, separator="&"):  # fmt: skip
    out = {}
    for name, value in parse_qsl(qs, keep_blank_values, strict_parsing, encoding, errors, max_num_fields, separator):
        out.setdefault(name, []).append(value)
    return out


class _Netloc:
    """What stands in a netloc: user:password@host:port."""

    def _user(self):
        user, at, _ = self.netloc.rpartition("@")
        name, colon, password = user.partition(":")
        return (name if at else None), (password if colon else None)

    def _host(self):
        place = self.netloc.rpartition("@")[2]
        if place.startswith("["):
            host, _, port = place[1:].partition("]")
            port = port.partition(":")[2]
        else:
            host, _, port = place.partition(":")
        return host, port

    @property
    def username(self):
        return self._user()[0]

    @property
    def password(self):
        return self._user()[1]

    @property
    def hostname(self):
        host, percent, zone = self._host()[0].partition("%")
        return host.lower() + percent + zone or None

    @property
    def port(self):
        port = self._host()[1]
        if not port:
            return None
        if not port.isdigit():
            raise ValueError("Port could not be cast to integer value as %r" % (port,))
        if int(port) > 65535:
            raise ValueError("Port out of range 0-65535")
        return int(port)

    def _replace(self, **changed):
        values = [changed.pop(name) if name in changed else getattr(self, name) for name in self._names]
        if changed:
            raise ValueError("Got unexpected field names: %r" % (list(changed),))
        return type(self)(*values)


class SplitResult(_Netloc, namedtuple("SplitResult", ("scheme", "netloc", "path", "query", "fragment"))):
    _names = ("scheme", "netloc", "path", "query", "fragment")

    def geturl(self):
        return urlunsplit(self)


class ParseResult(_Netloc, namedtuple("ParseResult", ("scheme", "netloc", "path", "params", "query", "fragment"))):
    _names = ("scheme", "netloc", "path", "params", "query", "fragment")

    def geturl(self):
        return urlunparse(self)


class DefragResult(namedtuple("DefragResult", ("url", "fragment"))):
    def geturl(self):
        return self.url + "#" + self.fragment if self.fragment else self.url


def _check_netloc(netloc):
    if ("[" in netloc) != ("]" in netloc):
        raise ValueError("Invalid IPv6 URL")


def urlsplit(url, scheme="", allow_fragments=True):
    while url and url[0] <= " ":
        url = url[1:]
    url = "".join(c for c in url if c not in "\t\r\n")
    scheme = scheme.strip()
    netloc = query = fragment = ""
    before, colon, rest = url.partition(":")
    if colon and before[:1].isalpha() and ord(before[0]) < 128 and all(c in _SCHEME for c in before):
        scheme, url = before.lower(), rest
    if url[:2] == "//":
        end = min([i for i in map(url[2:].find, "/?#") if i >= 0], default=len(url) - 2) + 2
        netloc, url = url[2:end], url[end:]
        _check_netloc(netloc)
    if allow_fragments:
        url, _, fragment = url.partition("#")
    url, _, query = url.partition("?")
    return SplitResult(scheme, netloc, url, query, fragment)


def urlunsplit(parts):
    scheme, netloc, url, query, fragment = parts
    if netloc or (scheme and scheme in uses_netloc and url[:2] != "//"):
        if url and url[:1] != "/":
            url = "/" + url
        url = "//" + netloc + url
    elif url[:2] == "//":
        url = "//" + url
    if scheme:
        url = scheme + ":" + url
    return url + ("?" + query if query else "") + ("#" + fragment if fragment else "")


def urlparse(url, scheme="", allow_fragments=True):
    scheme, netloc, path, query, fragment = urlsplit(url, scheme, allow_fragments)
    params = ""
    if scheme in uses_params and ";" in path:
        at = path.find(";", path.rfind("/") + 1)
        if at >= 0:
            path, params = path[:at], path[at + 1 :]
    return ParseResult(scheme, netloc, path, params, query, fragment)


def urlunparse(parts):
    scheme, netloc, path, params, query, fragment = parts
    return urlunsplit((scheme, netloc, path + ";" + params if params else path, query, fragment))


def urldefrag(url):
    if "#" not in url:
        return DefragResult(url, "")
    scheme, netloc, path, params, query, fragment = urlparse(url)
    return DefragResult(urlunparse((scheme, netloc, path, params, query, "")), fragment)


def _joined(base, path):
    """RFC 3986, 5.2.3 and 5.2.4: a relative path behind the folder of the base, without dots."""
    if path.startswith("/"):
        segments = path.split("/")
    else:
        folder = base.split("/")
        if folder[-1] != "":
            folder.pop()
        segments = folder + path.split("/")
        segments[1:-1] = [s for s in segments[1:-1] if s]
    out = []
    for segment in segments:
        if segment == "..":
            if out:
                out.pop()
        elif segment != ".":
            out.append(segment)
    if segments[-1] in (".", ".."):
        out.append("")
    return "/".join(out) or "/"


def urljoin(base, url, allow_fragments=True):
    if not base or not url:
        return url or base
    base_scheme, base_netloc, base_path, base_params, base_query, _ = urlparse(base, "", allow_fragments)
    scheme, netloc, path, params, query, fragment = urlparse(url, base_scheme, allow_fragments)
    if scheme != base_scheme or scheme not in uses_relative:
        return url
    if scheme in uses_netloc:
        if netloc:
            return urlunparse((scheme, netloc, path, params, query, fragment))
        netloc = base_netloc
    if not path and not params:
        return urlunparse((scheme, netloc, base_path, base_params, query or base_query, fragment))
    return urlunparse((scheme, netloc, _joined(base_path, path), params, query, fragment))
