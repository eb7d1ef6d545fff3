# SPDX-License-Identifier: MIT
# requests, with the names of micropython-lib's module, for HTTP/1.1 over TCP or TLS. One request a connection.
# The certificate of an https server is checked against what the image trusts ([tls] ca of image.toml, or the
# variable SSL_CERT_FILE); verify=FILE or verify=bytes gives another CA, verify=False asks for no check.

import socket


class Response:
    """status_code, reason, headers (names in small letters), content, text, json(). The body is read when asked for."""

    def __init__(self, sock, status, reason, headers, body):
        self.raw = sock
        self.status_code = status
        self.reason = reason
        self.headers = headers
        self.encoding = "utf-8"
        self._body = body
        self._content = None

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self):
        if self.raw is not None:
            self.raw.close()
            self.raw = None

    def iter_content(self, size=4096):
        """The body in pieces, as they come."""
        if self._content is not None:
            yield self._content
            return
        try:
            yield from self._body(size)
        finally:
            self.close()

    @property
    def content(self):
        if self._content is None:
            self._content = b"".join(self.iter_content())
        return self._content

    @property
    def text(self):
        return str(self.content, self.encoding)

    def json(self):
        import json

        return json.loads(self.content)


def _until_close(sock):
    def body(size):
        while piece := sock.read(size):
            yield piece

    return body


def _exactly(sock, left):
    def body(size):
        n = int(left)  # as the server said it: who reads closes the connection where that is no number
        if n < 0:
            raise ValueError("a body of less than nothing")
        while n > 0:
            piece = sock.read(min(size, n))
            if not piece:
                raise OSError("the connection ended before the body did")
            n -= len(piece)
            yield piece

    return body


def _chunks(sock):
    def body(size):
        while True:
            line = sock.readline()
            n = int(line.split(b";")[0], 16)  # b"" is a ValueError: the connection ended
            if n == 0:
                while sock.readline() not in (b"\r\n", b""):
                    pass
                return
            yield from _exactly(sock, n)(size)
            sock.readline()

    return body


def _split(url):
    """(https, host, port, path) of a URL."""
    scheme, _, rest = url.partition("://")
    if scheme not in ("http", "https") or not rest:
        raise ValueError("no http or https URL: " + url)
    place, slash, path = rest.partition("/")
    if "?" in place:
        place, _, query = place.partition("?")
        slash, path = "/?", query
    place = place.rpartition("@")[2]
    port = 443 if scheme == "https" else 80
    if place.startswith("["):
        host, _, after = place[1:].partition("]")
    else:
        host, colon, after = place.partition(":")
        after = colon + after
    if after:
        port = int(after[1:])
    if any(ord(c) <= 32 for c in url):
        raise ValueError("a blank or a control character in the URL")
    return scheme == "https", host, port, (slash or "/") + path


def _connect(tls, host, port, verify, timeout):
    info = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)[0]
    sock = socket.socket(info[0], info[1], info[2])
    try:
        sock.settimeout(timeout)
        sock.connect(info[-1])
        if tls:
            import ssl

            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            if verify is False:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            elif verify is not True:
                context.load_verify_locations(verify)
            sock = context.wrap_socket(sock, server_hostname=host)
    except BaseException:
        sock.close()
        raise
    return sock


def _field(name, value):
    line = "%s: %s" % (name, value)
    if "\r" in line or "\n" in line:
        raise ValueError("a line break in a header")
    return line + "\r\n"


def _body(data, json, headers):
    """The bytes to send, or an iterable of such; adds what describes them to the headers."""
    given = {name.lower() for name in headers}
    if json is not None:
        import json as codec

        data = codec.dumps(json)
        if "content-type" not in given:
            headers["Content-Type"] = "application/json"
    if isinstance(data, str):
        data = data.encode()
    if data is not None:
        if hasattr(data, "__next__"):
            headers["Transfer-Encoding"] = "chunked"
        elif "content-length" not in given:
            headers["Content-Length"] = len(data)
    return data


def _send(sock, method, target, headers, data):
    sock.write(
        ("%s %s HTTP/1.1\r\n" % (method, target) + "".join(_field(*h) for h in headers.items()) + "\r\n").encode()
    )
    if hasattr(data, "__next__"):
        for piece in data:
            if piece:
                sock.write(b"%x\r\n" % len(piece) + piece + b"\r\n")
        sock.write(b"0\r\n\r\n")
    elif data:
        sock.write(data)


def _head(sock):
    """(status, reason, headers) of an answer that is no 1xx."""
    while True:
        words = sock.readline().split(None, 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/1."):
            raise OSError("no HTTP answer")
        headers = {}
        while (line := sock.readline()) not in (b"\r\n", b"\n", b""):
            name, _, value = line.decode().partition(":")
            name, value = name.strip().lower(), value.strip()
            headers[name] = headers[name] + ", " + value if name in headers else value
        status = int(words[1])
        if status >= 200:
            return status, words[2].strip().decode() if len(words) > 2 else "", headers


def request(
    method,
    url,
    data=None,
    json=None,
    headers=None,
    stream=None,
    auth=None,
    timeout=None,
    parse_headers=True,
    verify=True,
    redirects=10,
):
    headers = dict(headers or {})
    if auth is not None:
        import binascii

        pair = binascii.b2a_base64(("%s:%s" % auth).encode()).decode().strip()
        headers["Authorization"] = "Basic " + pair
    while True:
        tls, host, port, target = _split(url)
        sent = {"Host": host if port == (443 if tls else 80) else "%s:%d" % (host, port), "Connection": "close"}
        sent.update(headers)
        payload = _body(data, json, sent)
        sock = _connect(tls, host, port, verify, timeout)
        try:
            _send(sock, method, target, sent, payload)
            status, reason, got = _head(sock)
        except BaseException:
            sock.close()
            raise
        where = got.get("location")
        if status not in (301, 302, 303, 307, 308) or where is None or redirects == 0:
            break
        sock.close()
        if hasattr(data, "__next__"):
            raise ValueError("a redirected request cannot send its body again")
        redirects -= 1
        old, url = (tls, host, port), _joined(tls, host, port, target, where)
        if _split(url)[:3] != old:
            headers.pop("Authorization", None)  # meant for the first host alone
        if status == 303 or (status in (301, 302) and method == "POST"):
            method, data, json = "GET", None, None
    if method == "HEAD" or status in (204, 304):
        body = _exactly(sock, 0)
    elif "chunked" in got.get("transfer-encoding", "").lower():
        body = _chunks(sock)
    elif "content-length" in got:
        body = _exactly(sock, got["content-length"])
    else:
        body = _until_close(sock)
    answer = Response(sock, status, reason, got, body)
    if not stream:
        _ = answer.content
    return answer


def _joined(tls, host, port, target, where):
    """The URL that a Location names, relative to where it was said."""
    if "://" in where:
        return where
    scheme = "https:" if tls else "http:"
    if where.startswith("//"):
        return scheme + where
    if not where.startswith("/"):
        where = target.partition("?")[0].rpartition("/")[0] + "/" + where
    place = "[%s]" % host if ":" in host else host
    return "%s//%s:%d%s" % (scheme, place, port, where)


def head(url, **keywords):
    return request("HEAD", url, **keywords)


def get(url, **keywords):
    return request("GET", url, **keywords)


def post(url, **keywords):
    return request("POST", url, **keywords)


def put(url, **keywords):
    return request("PUT", url, **keywords)


def patch(url, **keywords):
    return request("PATCH", url, **keywords)


def delete(url, **keywords):
    return request("DELETE", url, **keywords)
