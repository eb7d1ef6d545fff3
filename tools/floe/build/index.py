# SPDX-License-Identifier: MIT
"""A package index (PEP 503 and 691) as pip is set up to use it: which files a release has, and fetching one.

pip itself is not asked to download: it runs what is in a source archive, and refuses the archives without setup.py
that MicroPython's own packages are.
"""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from html.parser import HTMLParser
from http.client import HTTPException
from pathlib import Path

from floe.errors import BuildError

TIMEOUT_S = 60.0
MAX_BYTES = 64 << 20
_JSON = "application/vnd.pypi.simple.v1+json"
_ACCEPT = f"{_JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_NETWORK = ("http://", "https://")
_SOURCES = (".tar.gz", ".tgz", ".tar.bz2", ".zip")


@dataclass(frozen=True)
class File:
    """One file of a release. sha256 is "" where the index gives none."""

    name: str
    url: str
    sha256: str

    @property
    def version(self) -> str:
        """Empty for a file that is neither a wheel for every machine nor a source archive."""
        return self._split()[1]

    @property
    def project(self) -> str:
        """As it is spelt in the file's name; empty as the version is."""
        return self._split()[0]

    def _split(self) -> tuple[str, str]:
        if not re.fullmatch(r"[A-Za-z0-9._+!-]+", self.name):
            return "", ""
        if self.name.endswith("-none-any.whl"):
            return self.name.split("-")[0], self.name.split("-")[1]
        ending = next((ending for ending in _SOURCES if self.name.endswith(ending)), "")
        project, _, version = self.name.removesuffix(ending).rpartition("-")
        return (project, version) if ending else ("", "")


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for key, value in attrs if tag == "a" and key == "href" and value]


def find(name: str, version: str) -> File:
    """The file of a release to freeze: a wheel without machine code, else a source archive. Raises BuildError."""
    reasons, offered = [], set()
    project = _normal(name)
    for place in indexes():
        try:
            files = _local(place, project) if isinstance(place, Path) else _files(f"{place.rstrip('/')}/{project}/")
        except _NotThere as e:
            reasons.append(str(e))
            continue
        release = sorted((f for f in files if f.version == version), key=lambda f: not f.name.endswith(".whl"))
        if release:
            return release[0]
        offered |= {f.version for f in files if f.version}
    if offered:
        raise BuildError(
            f"PyPI has no {name} {version} that can be frozen",
            evidence=f"it has: {', '.join(sorted(offered)[-12:])}",
            hint="pin one of these under [packages] in image.toml",
        )
    raise BuildError(
        f"cannot fetch {name} {version} from PyPI",
        evidence="\n".join(reasons),
        hint="check the name under [packages] in image.toml, and the network",
    )


def fetch(url: str, named_by: str = "") -> bytes:
    """What is at a URL, 64 MiB at most. Raises BuildError. named_by: the address of what names it; what comes from the
    network cannot name a file of this machine's."""
    if named_by.startswith(_NETWORK) and not url.startswith(_NETWORK):
        raise BuildError(f"{named_by} names what is not on the network: {url}", hint="choose another version of it")
    try:
        return _get(url, "*/*")[0]
    except _NotThere as e:
        raise BuildError(f"cannot fetch {url}", evidence=str(e), hint="check the network") from None


def indexes() -> list[str | Path]:
    """Where pip would look: folders of files (find-links), then the main index and the extra ones."""
    said = _python("-m", "pip", "config", "list")
    keys = "(?:extra-)?index-url|find-links|no-index"
    rank = ["global", "install", "download", ":env:"]  # what counts more comes later
    lines = re.findall(rf"^({'|'.join(rank)})\.({keys})='(.*)'$", said, re.MULTILINE)
    values = {key: value for _, key, value in sorted(lines, key=lambda line: rank.index(line[0]))}
    links = values.get("find-links", "").replace("\\n", " ").split()
    folders = [Path(urllib.request.url2pathname(link.removeprefix("file://"))) for link in links]
    if values.get("no-index", "0").lower() in ("1", "true", "yes", "on"):
        return [*folders]
    main = values.get("index-url") or _python(
        "-c", "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"
    )
    extra = values.get("extra-index-url", "").split()
    urls = [url.strip() for url in (main, *extra) if url.startswith(_NETWORK)]
    return [*(folder for folder in folders if folder.is_dir()), *urls]


class _NotThere(Exception):
    """Nothing came from a URL; why."""


def _normal(name: str) -> str:
    """A project's name as indexes spell it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _local(folder: Path, project: str) -> list[File]:
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    files = [File(path.name, path.resolve().as_uri(), "") for path in paths]
    found = [file for file in files if _normal(file.project) == project]
    if not found:
        raise _NotThere(f"{folder}: no file of {project}")
    return found


def _files(url: str) -> list[File]:
    """The files that an index lists for a project. Raises _NotThere, also for what is no index."""
    body, kind, at = _get(url, _ACCEPT)
    try:
        found = _listed(body, at) if kind == _JSON else _linked(body, at)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as e:
        raise _NotThere(f"{url}: no index of packages: {type(e).__name__}: {e}") from e
    return [file for file in found if file.url.startswith(_NETWORK)]  # none of this machine's


def _listed(body: bytes, at: str) -> list[File]:
    return [
        File(str(e["filename"]), urllib.parse.urljoin(at, e["url"]), str(e.get("hashes", {}).get("sha256", "")))
        for e in json.loads(body)["files"]
    ]


def _linked(body: bytes, at: str) -> list[File]:
    links = _Links()
    links.feed(body.decode("utf-8", "replace"))
    found = []
    for link in links.found:
        whole, _, fragment = urllib.parse.urljoin(at, link).partition("#")
        name = urllib.parse.unquote(urllib.parse.urlsplit(whole).path.rpartition("/")[2])
        digest = re.fullmatch(r"sha256=([0-9a-f]{64})", fragment)
        found.append(File(name, whole, digest[1] if digest else ""))
    return found


def _get(url: str, accept: str) -> tuple[bytes, str, str]:
    """Body, content type, and the URL that it came from in the end. Raises _NotThere."""
    request = urllib.request.Request(url, headers={"Accept": accept, "User-Agent": "floe"})
    context = ssl.create_default_context(cafile=os.environ.get("PIP_CERT"))
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S, context=context) as answer:
            body = answer.read(MAX_BYTES + 1)
            kind = answer.headers.get_content_type()
            at = answer.geturl()
    except urllib.error.HTTPError as e:
        raise _NotThere(f"{url}: {e.code} {e.reason}") from e
    except (OSError, HTTPException, ValueError) as e:
        raise _NotThere(f"{url}: {getattr(e, 'reason', None) or e}") from e
    if len(body) > MAX_BYTES:
        raise _NotThere(f"{url}: more than {MAX_BYTES >> 20} MiB")
    return body, kind, at


def _python(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-I", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout
