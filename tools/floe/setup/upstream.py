# SPDX-License-Identifier: MIT
"""Fetch, verify, unpack and patch the sources pinned in port/upstream.toml.

Standard library only: `python3 -m floe.setup.upstream` runs before anything is installed. Each source ends up as
build/upstream/<name>, complete, verified and with port/patches/<name>/*.patch applied, or not at all; a second
run does nothing. $FLOE_UPSTREAM names another release that the list has, which lives in build/<release>/ beside it.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from floe.errors import FloeError, UpstreamError
from floe.setup.apt import AptState
from floe.setup.archive import unpack
from floe.setup.pins import STAMP, Origin, Patch, Pin, chosen_release, load_pins, unpacked_from

NET_TIMEOUT_S = 30.0
PATCH_TIMEOUT_S = 60
CHUNK = 1 << 16
Say = Callable[[str], None]


class HashMismatch(UpstreamError):
    """A fetched file is not the pinned one. No other origin is tried: a wrong file is never 'unavailable'."""


class Fetcher:
    """Brings pins under one root folder (build/upstream). Owns its folder of downloads, which another root may share,
    and the apt state in root/.apt."""

    def __init__(self, root: Path, say: Say, downloads: Path | None = None) -> None:
        self.root = root
        self.downloads = downloads or root / ".download"
        self.say = say
        self.apt = AptState(root / ".apt", say)

    def bring(self, pin: Pin) -> bool:
        """Make root/<name> hold the pinned source. False: it already did. Raises UpstreamError."""
        target = self.root / pin.name
        if _stamped(target, pin):
            return False
        for folder in (self.root, self.downloads):
            folder.mkdir(parents=True, exist_ok=True)
        origin, archive = self._fetch(pin)
        self.say(f"{pin.name} {pin.version}: unpacking {archive.name}")
        self._install(pin, origin, archive, target)
        return True

    def _fetch(self, pin: Pin) -> tuple[Origin, Path]:
        for origin in pin.origins:
            archive = self.downloads / origin.file
            if archive.exists():
                if _sha256(archive) == origin.sha256:
                    return origin, archive
                archive.unlink()
        reasons = []
        for origin in pin.origins:
            archive = self.downloads / origin.file
            self.say(f"{pin.name} {pin.version}: fetching {origin.file} from {origin}")
            try:
                if origin.kind == "debian":
                    self.apt.download(origin.suite, origin.source, archive)
                else:
                    self._download_url(origin, archive)
            except UpstreamError as e:
                if isinstance(e, HashMismatch):
                    raise
                reasons.append(f"{origin}: {e.message}")
                self.say(f"{pin.name} {pin.version}: {e.message}")
                continue
            self._verify(pin, origin, archive)
            return origin, archive
        raise UpstreamError(
            f"cannot fetch {pin.name} {pin.version}",
            evidence="\n".join(reasons),
            hint="check the network and the machine's apt sources, then run the same command again",
        )

    def _verify(self, pin: Pin, origin: Origin, archive: Path) -> None:
        actual = _sha256(archive)
        if actual != origin.sha256:
            archive.unlink()
            raise HashMismatch(
                f"{origin.file} is not the pinned {pin.name} {pin.version}",
                evidence=f"sha256 pinned:  {origin.sha256}\nsha256 fetched: {actual}\nfrom: {origin}",
                hint="do not use the file; if the release was replaced on purpose, change port/upstream.toml",
            )

    def _download_url(self, origin: Origin, archive: Path) -> None:
        """Fetch to archive, through a .part file that a later run continues where the server allows it."""
        part = archive.with_name(archive.name + ".part")
        have = part.stat().st_size if part.exists() else 0
        request = urllib.request.Request(origin.url, headers={"Range": f"bytes={have}-"} if have else {})
        try:
            with urllib.request.urlopen(request, timeout=NET_TIMEOUT_S) as answer:
                mode = "ab" if answer.status == 206 else "wb"
                expected = answer.headers.get("Content-Length")
                with part.open(mode) as out:
                    got = sum(out.write(block) for block in iter(lambda: answer.read(CHUNK), b""))
        except urllib.error.HTTPError as e:
            if e.code == 416:  # the part is as long as the file, or longer: start over next time
                part.unlink(missing_ok=True)
            raise UpstreamError(f"the server answered {e.code} {e.reason}") from e
        except (OSError, http.client.HTTPException) as e:
            raise UpstreamError(f"not reachable: {getattr(e, 'reason', None) or e}") from e
        if expected is not None and got < int(expected):
            raise UpstreamError(f"the connection ended after {got} of {expected} bytes")
        part.replace(archive)

    def _install(self, pin: Pin, origin: Origin, archive: Path, target: Path) -> None:
        """Unpack beside target, then rename: target is whole or absent."""
        with tempfile.TemporaryDirectory(prefix=f".{pin.name}-", dir=self.root) as scratch:
            tree = Path(scratch) / "tree"
            unpack(archive, tree)
            for patch in pin.patches:
                self.say(f"{pin.name} {pin.version}: applying {patch.path.name}")
                _apply(patch, tree)
            (tree / STAMP).write_text(pin.stamps[origin.sha256])
            if target.exists():
                target.rename(Path(scratch) / "old")
            tree.rename(target)


def _stamped(target: Path, pin: Pin) -> bool:
    return bool(unpacked_from(target, pin))


def _apply(patch: Patch, tree: Path) -> None:
    """Apply to tree. Raises UpstreamError where it does not fit to the letter."""
    argv = ["patch", "-p1", "--batch", "--forward", "--fuzz=0", "--no-backup-if-mismatch", "--reject-file=-"]
    try:
        done = subprocess.run(
            argv, cwd=tree, input=patch.content, capture_output=True, timeout=PATCH_TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        raise UpstreamError("the command 'patch' is not installed", hint="sudo apt-get install patch") from None
    if done.returncode:
        raise UpstreamError(
            f"{patch.path.name} does not apply to {patch.path.parent.name}",
            evidence=(done.stdout + done.stderr).decode(errors="replace").strip(),
            hint=f"bring {patch.path} up to date with the pinned version",
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def _stale(root: Path, pins: list[Pin]) -> Iterator[Path]:
    """What an interrupted run left behind."""
    names = {pin.name for pin in pins}
    for path in root.iterdir() if root.exists() else ():
        if path.is_dir() and path.name.startswith(".") and path.name[1:].rpartition("-")[0] in names:
            yield path


def bring_all(pins: list[Pin], root: Path, say: Say, downloads: Path | None = None) -> int:
    """Bring every pin under root; the number of sources that were not there yet. downloads: where archives are kept, if
    not below root."""
    for leftover in _stale(root, pins):
        shutil.rmtree(leftover, ignore_errors=True)
    fetcher = Fetcher(root, say, downloads)
    return sum(fetcher.bring(pin) for pin in pins)


def main(argv: list[str] | None = None) -> int:
    """Command line of `python3 -m floe.setup.upstream`; exit code 0 or that of the error."""
    parser = argparse.ArgumentParser(prog="floe.setup.upstream", description="Fetch the pinned upstream sources.")
    parser.add_argument("--pins", type=Path, default=Path("port/upstream.toml"))
    parser.add_argument("--root", type=Path, default=Path("build", chosen_release(), "upstream"))
    args = parser.parse_args(argv)
    try:
        bring_all(
            load_pins(args.pins, chosen_release()),
            args.root,
            lambda text: print(f"upstream: {text}", file=sys.stderr, flush=True),
        )
    except FloeError as e:
        print(e.render(), file=sys.stderr)
        return e.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
