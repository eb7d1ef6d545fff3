# SPDX-License-Identifier: MIT
"""Fetch the orig archive of a Debian source package, in an apt state of our own.

The mirror and its key come from the machine's apt configuration; the machine's own lists, caches and status
are not touched, and no root is needed. Standard library only.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

from floe.errors import UpstreamError

APT_TIMEOUT_S = 600
_KEYRINGS = ("/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp")


class AptState:
    """An apt state folder with one deb-src line. Created on first use, kept between runs."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self.folder = folder.absolute()
        self.say = say
        self.suites_updated: set[str] = set()

    def download(self, suite: str, source: str, archive: Path) -> None:
        """Download the suite's orig archive of `source` to `archive`. Raises UpstreamError, also when the
        suite's file has another name than `archive` by now."""
        if shutil.which("apt-get") is None:
            raise UpstreamError("this machine has no apt-get")
        self._configure(suite)
        if not self._offers(suite, source, archive.name):
            self._update(suite)
            offered = self._offered(suite, source)
            if archive.name not in offered:
                raise UpstreamError(
                    f"{suite} has {', '.join(offered) or 'no source package ' + source}, not {archive.name}"
                )
        try:
            self.get(suite, "source", "--download-only", "--tar-only", source, cwd=archive.parent)
        except UpstreamError:
            if suite in self.suites_updated:
                raise
            self._update(suite)  # the lists may be older than the mirror
            self.get(suite, "source", "--download-only", "--tar-only", source, cwd=archive.parent)
        if not archive.exists():
            raise UpstreamError(f"apt-get fetched another file than {archive.name}")

    def _configure(self, suite: str) -> None:
        """Write the source list of this suite. Raises UpstreamError if the machine names no Debian mirror."""
        mirror, signed_by = _machine_mirror()
        self.prepare(suite, source_line("deb-src", mirror, signed_by, suite))

    def prepare(self, suite: str, sources: str) -> None:
        """Make the suite's folders, with `sources` as its sources.list."""
        for part in ("lists/partial", "cache/archives/partial"):
            (self.folder / suite / part).mkdir(parents=True, exist_ok=True)
        (self.folder / suite / "status").touch()
        (self.folder / suite / "sources.list").write_text(sources)

    def _offers(self, suite: str, source: str, file: str) -> bool:
        try:
            return file in self._offered(suite, source)
        except UpstreamError:
            return False

    def _offered(self, suite: str, source: str) -> list[str]:
        """Names of the orig archives that the lists know for a source package."""
        lines = self.get(suite, "source", "--print-uris", "--tar-only", source).splitlines()
        return [unquote(line.split()[1]) for line in lines if line.startswith("'") and len(line.split()) > 2]

    def _update(self, suite: str) -> None:
        self.say(f"reading Debian {suite}'s list of source packages")
        self.get(suite, "update")
        self.suites_updated.add(suite)

    def get(self, suite: str, *words: str, cwd: Path | None = None, tool: str = "apt-get") -> str:
        """Output of apt-get or apt-cache in the suite's state. Raises UpstreamError with its last words."""
        state = self.folder / suite
        options = {
            "Dir::Etc::sourcelist": str(state / "sources.list"),
            "Dir::Etc::sourceparts": "-",
            "Dir::State::lists": str(state / "lists"),
            "Dir::State::status": str(state / "status"),
            "Dir::Cache": str(state / "cache"),
            "APT::Sandbox::User": "",
            "Acquire::Languages": "none",
            "Acquire::Retries": "2",
        }
        flags = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        return _run([tool, "-q", *flags, *words], cwd)


def machine_archives() -> list[tuple[str, str]]:
    """Base address and key of each package archive that the machine's apt configuration names, in its order."""
    lines = _run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(SIGNED_BY)", "Created-By: Packages"], None)
    found = [(uri, signed_by) for uri, _, signed_by in (line.partition(" ") for line in lines.splitlines())]
    return list(dict.fromkeys(found))


def source_line(kind: str, uri: str, signed_by: str, suite: str) -> str:
    """A line of sources.list(5). kind: "deb" or "deb-src"."""
    keyring = signed_by if signed_by.startswith("/") else next((k for k in _KEYRINGS if Path(k).exists()), "")
    options = f"[signed-by={keyring}] " if keyring else ""
    return f"{kind} {options}{uri} {suite} main\n"


def _machine_mirror() -> tuple[str, str]:
    """Base address and key of the machine's first package archive whose address ends in /debian."""
    for uri, signed_by in machine_archives():
        if uri.rstrip("/").endswith("/debian"):
            return uri, signed_by
    raise UpstreamError("the machine's apt configuration names no Debian mirror")


def _run(argv: list[str], cwd: Path | None) -> str:
    """Output of a command in the C locale. Raises UpstreamError with its last words when it fails."""
    try:
        done = subprocess.run(
            ["env", "LC_ALL=C", *argv],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=APT_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as e:
        raise UpstreamError(f"apt-get did not end within {APT_TIMEOUT_S} s: {shlex.join(argv)}") from e
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith(("E:", "W:"))] or done.stderr.splitlines()
        raise UpstreamError(said[-1].removeprefix("E:").strip() if said else f"apt-get ended with {done.returncode}")
    return done.stdout
