# SPDX-License-Identifier: MIT
"""A fresh Debian in a folder, made by debootstrap, and commands that run in it.

Of this machine it has the mirror, the certificates, the name servers, pip's settings and /dev, and nothing else.
A command has a mount and a PID namespace of its own, so that no mount outlives it and no process. Needs root.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

USER = "una"
MAKE_TIMEOUT_S = 1200
# What a newcomer has before the first command; the README asks for no more.
PACKAGES = ("ca-certificates", "git", "make", "python3")
# Words: the root, then chroot's. /dev is this machine's, for /dev/kvm. The root is changed by pivot_root: in a chroot
# alone nobody may make a user namespace. The shell stays: it reaps what others leave, and as root's it is killed with
# unshare, which a process that becomes another user's is not; all others of its namespace go with it.
ENTER = """set -e
mount --bind "$0" "$0"; cd "$0"
mount -t proc proc proc; mount --rbind /sys sys; mount --rbind /dev dev
if [ -e dev/net/tun ]; then mount -t tmpfs none dev/net; mknod -m 666 dev/net/tun c 10 200; fi  # everybody's, as by udev
pivot_root . mnt; cd /; umount -l /mnt
chroot "$@"
"""
# How this machine reaches the network; no other variable of it gets in.
ENVIRONMENT = re.compile(
    r"(https?|no|all)_proxy|SSL_CERT_FILE|REQUESTS_CA_BUNDLE|GIT_SSL_CAINFO|PIP_\w+", re.IGNORECASE
)


@dataclass(frozen=True)
class Root:
    """folder: what the commands see as /. suite: Debian's name of the release."""

    folder: Path
    suite: str

    def run(self, argv: Sequence[str], *, user: str, cwd: str, log: Path, timeout_s: float) -> int:
        """Exit code of a command in the root, as that user; 124 when it did not end in time. log: what it prints."""
        home = "/root" if user == "root" else f"/home/{user}"
        settings = {
            "HOME": home,
            "USER": user,
            "LANG": "C.UTF-8",
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        } | {key: value for key, value in os.environ.items() if ENVIRONMENT.fullmatch(key)}
        words = [f"{key}={value}" for key, value in settings.items()]
        chroot = [f"--userspec={user}:{user}", "/", "env", "-i", "-C", cwd, *words, *argv]
        unshare = ["unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child"]
        with log.open("w") as out:
            process = subprocess.Popen(
                [*unshare, "sh", "-c", ENTER, str(self.folder), *chroot],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return 124
        finally:
            process.kill()  # and by that every process of its namespace
            process.wait(30)

    def clone(self, source: Path, target: str, user: str) -> None:
        """A clone of what is committed in `source`, at `target` in the root, owned by `user`."""
        place = self.folder / target.lstrip("/")
        if place.exists():
            shutil.rmtree(place)
        place.parent.mkdir(parents=True, exist_ok=True)
        _call(["git", "clone", "-q", "--no-local", str(source), str(place)])
        # Its origin is no path in there.
        _call(["git", "-C", str(place), "remote", "remove", "origin"])
        self.own(target, user)

    def own(self, target: str, user: str = USER) -> None:
        """Give a folder and all in it to a user."""
        _call(["chroot", str(self.folder), "chown", "-R", f"{user}:{user}", target])


def needs() -> str:
    """What this machine lacks to make a root, "" if nothing."""
    if os.geteuid() == 0 and shutil.which("debootstrap") is not None:
        return ""
    return "root and debootstrap: sudo apt-get install debootstrap"


def fresh(suite: str, folder: Path, packages: Sequence[str] = PACKAGES) -> Root:
    """The root of a suite in `folder`, with these packages and what they need; made if it is not there."""
    if not (folder / "etc/floe-complete").exists():
        _make(suite, folder, packages)
    return Root(folder, suite)


def _make(suite: str, folder: Path, packages: Sequence[str]) -> None:
    if folder.exists():
        shutil.rmtree(folder)  # one that an interrupted run left
    folder.parent.mkdir(parents=True, exist_ok=True)
    bootstrap = ["debootstrap", "--variant=minbase", f"--include={','.join(packages)}", suite, str(folder), mirror()]
    _call(bootstrap, timeout_s=MAKE_TIMEOUT_S)
    (folder / "etc/apt/sources.list").write_text(sources(suite, mirror()))
    for name in ("etc/resolv.conf", "etc/pip.conf"):
        if Path("/", name).exists():
            shutil.copyfile(Path("/", name), folder / name)
    shutil.rmtree(folder / "etc/ssl/certs", ignore_errors=True)  # links, to where this machine has such files, too
    for name in ("etc/ssl/certs", "etc/apt/apt.conf.d"):
        shutil.copytree(Path("/", name), folder / name, dirs_exist_ok=True)
    for links in filter(None, [os.environ.get("PIP_FIND_LINKS")]):
        if Path(links).is_dir():
            shutil.copytree(links, folder / links.lstrip("/"), dirs_exist_ok=True)
    inside = ["chroot", str(folder)]
    _call([*inside, "useradd", "--create-home", "--shell=/bin/bash", USER])
    _call([*inside, "apt-get", "-qq", "update"], timeout_s=MAKE_TIMEOUT_S)
    (folder / "etc/floe-complete").touch()


def mirror() -> str:
    """The first Debian mirror of this machine's apt. Raises LookupError where there is none."""
    files = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    for path in files:
        text = path.read_text(errors="replace") if path.is_file() else ""
        found = re.search(r"^(?:URIs:|deb )(?:\s*\[[^]]*\])?\s*(https?://\S+)", text, re.MULTILINE)
        if found:
            return found[1]
    raise LookupError("no Debian mirror in /etc/apt")


def sources(suite: str, uri: str) -> str:
    """As Debian's installer writes them: with the updates, in which packages are that the tests pin."""
    archives = [(uri, suite), (uri, f"{suite}-updates"), (f"{uri.rstrip('/')}-security", f"{suite}-security")]
    return "".join(f"deb {where} {name} main\n" for where, name in archives)


def _call(argv: list[str], timeout_s: float = 120) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {(done.stdout + done.stderr).strip()[-500:]}")
