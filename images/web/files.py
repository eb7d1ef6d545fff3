# SPDX-License-Identifier: MIT
"""Files of a folder as answers: variants, conditions, ranges, index pages.

Files are found in a table made at start: what is not in the folder cannot be named, however the path is spelled.
On ROMFS a file's bytes are used where they lie in the image; of a disk, small ones are kept and large ones streamed.
"""

import asyncio
import binascii
import gc
import os
import time

from conditions import FAILED, NOTHING, UNCHANGED, evaluate, ranges_of
from message import HttpError, Prepared, Request, Response, Streamed, http_date
from pages import refuse_method

_KINDS = {
    "html": b"text/html; charset=utf-8",
    "htm": b"text/html; charset=utf-8",
    "css": b"text/css; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "mjs": b"text/javascript; charset=utf-8",
    "json": b"application/json",
    "map": b"application/json",
    "xml": b"application/xml",
    "txt": b"text/plain; charset=utf-8",
    "md": b"text/markdown; charset=utf-8",
    "csv": b"text/csv; charset=utf-8",
    "svg": b"image/svg+xml",
    "png": b"image/png",
    "jpg": b"image/jpeg",
    "jpeg": b"image/jpeg",
    "gif": b"image/gif",
    "webp": b"image/webp",
    "avif": b"image/avif",
    "ico": b"image/x-icon",
    "woff": b"font/woff",
    "woff2": b"font/woff2",
    "mp3": b"audio/mpeg",
    "mp4": b"video/mp4",
    "webm": b"video/webm",
    "wasm": b"application/wasm",
    "pdf": b"application/pdf",
    "zip": b"application/zip",
    "gz": b"application/gzip",
}
_CODINGS = (("br", b"br"), ("zst", b"zstd"), ("gz", b"gzip"))  # ends of names, the best first
_SMALL = 16384  # bytes of a file of a disk that may be kept in memory
_BLOCK = 16384
_KEPT_SHARE = 8  # of the free memory, for files of disks
_MULTIPART = 65536
_A_TIME = 1_600_000_000  # before it, there is no clock


class File:
    """What is known of a file, once it has been looked at: until then etag is None."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.size = 0
        self.etag: bytes | None = None
        self.content: object = None  # bytes-like; None: streamed
        self.modified: tuple | None = None
        self.since = b""  # the same, as Last-Modified has it


class Page:
    """A file at a URL."""

    def __init__(self, url: str, file: File, coding: bytes = b"") -> None:
        self.url = url
        self.file = file
        self.coding = coding
        self.varies = False
        self.variants: list = []  # Pages of this URL in other codings
        self.answers: dict = {}  # (method, verdict) -> Prepared
        self.fields: tuple = ()


class FileSource:
    """Bytes of a file for message.Streamed."""

    def __init__(self, path: str, start: int, size: int) -> None:
        self.wake: object = None
        self._path = path
        self._start = start
        self._left = size
        self._file: object = None

    def read(self) -> bytes:
        if self._file is None:
            self._file = open(self._path, "rb")  # noqa: SIM115 - close() does it
            self._file.seek(self._start)
        piece = self._file.read(min(_BLOCK, self._left))
        self._left -= len(piece)
        return piece

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class Files:
    """Serves the files below a folder as walk() has found them, which must not change; "/x/" means index.html there.

    Names that begin with a dot are not served, but for /.well-known. headers: for each answer; hidden: a file.
    """

    def __init__(self, settings: object, headers: tuple = (), hidden: str = "") -> None:
        self._label = settings.label()
        self._index = settings.index
        self._cache = sorted(settings.cache.items(), key=lambda rule: -len(rule[0]))
        self._headers = headers
        self._hidden = hidden
        self._room = -1  # bytes that may still be kept; asking for the free memory takes milliseconds
        self._start = time.time()
        self._pages: dict = {}  # URL path -> Page
        self._folders: dict = {}  # URL path -> folder
        self._root = settings.root.rstrip("/")
        self._precompressed = settings.precompressed

    def __len__(self) -> int:
        return len(self._pages)

    def walk(self) -> object:
        """Find the files, a folder at each step. Raises OSError."""
        return self._walk(self._root, "/")

    def _walk(self, folder: str, url: str) -> object:
        self._folders[url] = folder or "/"
        names = []
        for entry in os.ilistdir(folder or "/"):
            name, path = entry[0], folder + "/" + entry[0]
            if path == self._hidden or (name[0] == "." and (name != ".well-known" or url != "/")):
                continue
            if entry[1] == 0x4000:
                yield from self._walk(path, url + name + "/")
            else:
                self._pages[url + name] = Page(url + name, File(path))
                names.append(name)
        if url + "index.html" in self._pages:
            self._pages[url] = Page(url, self._pages[url + "index.html"].file)
            names.append("")
        if self._precompressed:
            self._find_variants(url, names)
        yield None

    def _find_variants(self, url: str, names: list) -> None:
        for name in names:
            page = self._pages[url + name]
            for end, coding in _CODINGS:
                other = self._pages.get(url + (name or "index.html") + "." + end)
                if other is not None:
                    variant = Page(page.url, other.file, coding)
                    variant.varies = page.varies = True
                    page.variants.append(variant)

    def __call__(self, request: Request) -> object:
        page = self._pages.get(request.path)
        if page is None:
            return self._folder(request)
        if request.method not in ("GET", "HEAD"):
            return refuse_method(request.method, {"GET": None})
        if page.variants:
            page = _choose(page, request.field(b"accept-encoding"))
        if page.file.etag is None and not self._load(page.file):
            return self._answer_later(request, page)
        return self._answer(request, page)

    # ---- folders --------------------------------------------------------------------------------

    def _folder(self, request: Request) -> Response:
        url = request.path
        folder = self._folders.get(url)
        if folder is not None and self._index:
            if request.method not in ("GET", "HEAD"):
                return refuse_method(request.method, {"GET": None})
            from listing import list_folder

            return list_folder(url, folder, self._hidden)
        if folder is None and url + "/" in self._folders and (self._index or url + "/" in self._pages):
            from hosts import quote

            where = quote(url) + b"/" + (b"?" + request.head.query if request.head.query else b"")
            return Response(301, b"", b"", ((b"Location", where),))
        raise HttpError(404)

    # ---- files ----------------------------------------------------------------------------------

    def _load(self, file: File) -> bool:
        """Look at a file. False: it is large, and its ETag takes a while."""
        found = os.stat(file.path)
        file.size = found[6]
        seconds = found[8] if _A_TIME < found[8] <= self._start else self._start
        if seconds > _A_TIME:
            moment = time.gmtime(seconds)
            file.modified = tuple(moment[:6])
            file.since = http_date(moment)
        with open(file.path, "rb") as opened:
            try:
                file.content = memoryview(opened)
            except TypeError:
                if self._room < 0:
                    self._room = gc.mem_free() // _KEPT_SHARE
                if file.size > min(_SMALL, self._room):
                    return False
                file.content = opened.read()
                self._room -= file.size
        file.etag = _etag(file, binascii.crc32(file.content))
        return True

    async def _answer_later(self, request: Request, page: Page) -> Response:
        """Once all of the file has been read for its ETag; others are served meanwhile."""
        file = page.file
        sum = 0
        with open(file.path, "rb") as opened:
            while True:
                piece = opened.read(_BLOCK)
                if not piece:
                    break
                sum = binascii.crc32(piece, sum)
                await asyncio.sleep_ms(0)
        file.etag = _etag(file, sum)
        return self._answer(request, page)

    def _fields_of(self, page: Page) -> tuple:
        if not page.fields:
            file = page.file
            etag = file.etag if not page.coding else file.etag[:-1] + b"-" + page.coding + b'"'
            fields = [(b"ETag", etag), (b"Accept-Ranges", b"bytes")]
            for pattern, value in self._cache:
                if page.url == pattern or (pattern[-1] == "*" and page.url.startswith(pattern[:-1])):
                    fields.append((b"Cache-Control", value.encode()))
                    break
            if file.since:
                fields.append((b"Last-Modified", file.since))
            if page.varies:
                fields.append((b"Vary", b"Accept-Encoding"))
            page.fields = tuple(fields) + self._headers
        return page.fields

    def _answer(self, request: Request, page: Page) -> Response:
        fields = self._fields_of(page)
        file, method = page.file, request.method
        etag = fields[0][1]
        verdict = evaluate(request, etag, file.modified)
        if verdict == FAILED:
            raise HttpError(412)
        kind = _KINDS.get(page.url.rsplit(".", 1)[-1].lower(), b"") if page.url[-1] != "/" else _KINDS["html"]
        kind = kind or b"application/octet-stream"
        if page.coding:
            coded = ((b"Content-Encoding", page.coding),)
            fields = fields if verdict == UNCHANGED else fields + coded
        if verdict == NOTHING and b"range" in request.head.fields:
            spans = ranges_of(request, file.size, etag, file.modified)
            answer = _parts(file, spans, kind, fields) if spans else None
            if answer is not None:
                return answer
        if file.content is None and verdict == NOTHING:
            return Streamed(200, FileSource(file.path, 0, file.size), file.size, kind, fields)
        answer = page.answers.get((method, verdict))
        if answer is None:
            if verdict == UNCHANGED:
                answer = Prepared(method, 304, b"", b"", fields)
            else:
                answer = Prepared(method, 200, file.content, kind, fields)
            answer.alike = True
            answer.site = self._label
            page.answers[(method, verdict)] = answer
        return answer


def _etag(file: File, sum: int) -> bytes:
    return b'"%x-%08x"' % (file.size, sum)


def _choose(page: Page, accepted: bytes) -> Page:
    """The page in the coding that the client likes most, by Accept-Encoding (RFC 9110, section 12.5.3)."""
    if not accepted:
        return page
    quality: dict = {}
    for word in accepted.lower().split(b","):
        name, _, weight = word.partition(b";")
        weight = weight.strip()
        value = 1000
        if weight:
            value = _quality(weight)
        quality[name.strip()] = value
    best, most = page, 0
    for variant in page.variants:
        value = quality.get(variant.coding, quality.get(b"*", 0))
        if value > most:
            best, most = variant, value
    return best if most >= quality.get(b"identity", 0) else page


def _quality(weight: bytes) -> int:
    """Of q=0.5: 500; what is none counts as nothing."""
    whole, _, part = weight[2:].strip().partition(b".")
    if weight[:2] != b"q=" or whole not in (b"0", b"1") or len(part) > 3 or (part and not part.isdigit()):
        return 0
    return min(1000, int(whole) * 1000 + int(part + b"000"[len(part) :]))


def _parts(file: File, spans: list, kind: bytes, fields: tuple) -> Response | None:
    """None: so many or so large parts that all of the file is as well sent."""
    if len(spans) > 1:
        if file.content is None or sum([last - first + 1 for first, last in spans]) > min(_MULTIPART, file.size):
            return None
        from byteranges import several

        return several(file.content, spans, kind, fields)
    first, last = spans[0]
    size = last - first + 1
    where = ((b"Content-Range", b"bytes %d-%d/%d" % (first, last, file.size)),)
    if file.content is None:
        return Streamed(206, FileSource(file.path, first, size), size, kind, fields + where)
    return Response(206, file.content[first : last + 1], kind, fields + where)
