# SPDX-License-Identifier: MIT
"""FAT on disk images, for `floe disk`: by mtools, and by fsck.fat of dosfstools for checking."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path, PurePosixPath

from floe.disk.volume import BESIDE, FAT, Entry, disk_full, joined
from floe.errors import FloeError, NotFound, UsageError

_TIMEOUT_S = 600
# "NAME     EXT      1234 2026-11-28  12:30  long name", or <DIR> for the size
_LINE = re.compile(r"(.{8}) (.{3}) +(<DIR>|[0-9 ]+) +\d{4}-\d\d-\d\d +\d+:\d\d *(.*)")


# What FAT has not, or Windows reserves, or mtools takes for a pattern.
_NOT_ON_FAT = re.compile(r'[\x00-\x1f"*:<>?\\|\[\]]|[. ]$|^ |^(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)', re.IGNORECASE)


class Fat:
    """A FAT on a disk that is locked meanwhile. `name`: of the disk."""

    kind = FAT

    def __init__(self, name: Path) -> None:
        self._name = name

    def entry(self, path: str) -> Entry | None:
        if not path:
            return Entry("", 0, True)
        parent = str(PurePosixPath(path).parent)
        try:
            return next((e for e in self.list("" if parent == "." else parent) if _same(e.path, path)), None)
        except NotFound:
            return None

    def list(self, path: str) -> list[Entry]:
        said = self._mtools("mdir", "-a", self._path(path) + "/", what=path)
        found = [_entry(self._name, path, match) for match in map(_LINE.fullmatch, said.splitlines()) if match]
        return sorted(entry for entry in found if entry is not None)

    def fetch(self, path: str, target: Path) -> None:
        self._mtools("mcopy", "-n", "-o", self._path(path), str(target.absolute()), what=path)

    def store(self, source: Path, path: str) -> None:
        old = path + BESIDE  # renaming the new one would cost it its lower case
        self._drop(old)
        replaces = self.entry(path) is not None
        if replaces:
            self._mtools("mren", self._path(path), self._path(old), what=path)
        try:
            self._mtools("mcopy", str(source.absolute()), self._path(path), what=path)
        except BaseException:
            self._drop(path)
            if replaces:
                self._mtools("mren", self._path(old), self._path(path), what=path)
            raise
        self._drop(old)

    def _drop(self, path: str) -> None:
        if self.entry(path):
            self._mtools("mdel", self._path(path), what=path)

    def make_folder(self, path: str) -> None:
        self._mtools("mmd", self._path(path), what=path)

    def free(self) -> int:
        found = re.search(r"([0-9 ]+) bytes free", self._mtools("mdir", "::/", what=""))
        return int(found[1].replace(" ", "")) if found else 0

    def check(self) -> None:
        """By fsck.fat, which changes nothing. Raises FloeError with what it found."""
        tool = shutil.which("fsck.fat", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
        if tool is None:
            raise NotFound("fsck.fat is not here, which checks FAT", hint="apt-get install dosfstools")
        done = _run([tool, "-n", str(self._name)])
        if done.returncode:
            raise FloeError(
                f"{self._name}: its FAT is damaged", evidence=_words(done), hint=f"fsck.fat -a {self._name} repairs it"
            )

    def _path(self, path: str) -> str:
        """As mtools has it, to which some characters are patterns. Raises UsageError for a name it cannot have."""
        for part in path.split("/"):
            if _NOT_ON_FAT.search(part):
                raise UsageError(f"{self._name}: {part!r} is no name for a FAT, or not for mtools", hint="rename it")
        return f"::/{path}" if path else "::"

    def _mtools(self, tool: str, *words: str, what: str) -> str:
        done = _run([_tool(tool), "-i", str(self._name), *words])
        said = _words(done)
        if done.returncode or "Disk full" in said:
            if "Disk full" in said or "No free" in said:
                raise disk_full(self._name, what)
            if re.search(r"not found|No such file", said):
                raise NotFound(f"{self._name} has no {what}", hint=f"floe disk ls {self._name}")
            raise FloeError(f"{self._name}: {tool} failed", evidence=said, hint=f"floe disk check {self._name}")
        return done.stdout


def format_fat(name: Path) -> None:
    """Make an empty FAT as large as a disk."""
    size = name.stat().st_size
    done = _run([_tool("mformat"), "-i", str(name), "-T", str(size // 512), "::"])
    if done.returncode:
        raise FloeError(f"cannot make a FAT on {name}", evidence=_words(done), hint="a size from 64K to 2047G")


def _entry(disk: Path, folder: str, match: re.Match[str]) -> Entry | None:
    """None for "." and ".."."""
    short, extension, size, long = (text.strip() for text in match.groups())
    name = long or (f"{short}.{extension}" if extension else short)
    if name in (".", ".."):
        return None
    is_folder = size == "<DIR>"
    return Entry(joined(disk, folder, name), 0 if is_folder else int(size.replace(" ", "")), is_folder)


def _same(one: str, other: str) -> bool:
    return one.casefold() == other.casefold()  # FAT knows no case


def _tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise NotFound(f"{name} is not here, which reads and writes FAT", hint="apt-get install mtools")
    return path


def _run(argv: list[str]) -> subprocess.CompletedProcess[str]:
    own = {"MTOOLSRC": os.devnull, "MTOOLS_DATE_STRING": "yyyy-mm-dd", "MTOOLS_TWENTY_FOUR_HOUR_CLOCK": "1"}
    try:
        return subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            env=os.environ | own | {"LC_ALL": "C.UTF-8"}, timeout=_TIMEOUT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise FloeError(f"{Path(argv[0]).name} did not end within {_TIMEOUT_S} s") from None


def _words(done: subprocess.CompletedProcess[str]) -> str:
    return (done.stderr + done.stdout).strip()[-1000:]
