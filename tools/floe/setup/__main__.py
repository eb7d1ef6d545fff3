# SPDX-License-Identifier: MIT
"""`make setup`: everything a fresh Debian 12 or 13 lacks, step by step; steps that are done cost nothing.

Run by the system's own python3 (`python3 -m floe.setup`), so the standard library is all it uses. Owns .venv
and build/.setup. Interrupted at any point it continues there the next time.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from floe.errors import FloeError, Interrupted, NotFound
from floe.setup import pins, upstream

ROOT = Path(__file__).resolve().parents[3]
VENV = ROOT / ".venv"
STAMPS = ROOT / "build" / ".setup"
STEP_TIMEOUT_S = 1800
_ENTRY_FLAGS = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O2", "-static", "-s", "-Wl,--build-id=none"]
_HANDOVER_FLAGS = [
    "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O2", "-s", "-Wl,--build-id=none", "-m32", "-march=i686",
    "-mgeneral-regs-only", "-ffreestanding", "-fno-pic", "-fno-stack-protector", "-fcf-protection=none",
    "-fno-asynchronous-unwind-tables", "-nostdlib", "-static", "-no-pie",
    "-Wl,-m,elf_i386,-z,noexecstack,--no-warn-rwx-segments",
]  # fmt: skip

# Debian package: what shows that it is there (a command, a file, or a module of python3).
RUN_PACKAGES = {
    "gcc": "gcc",
    "make": "make",
    "libc6-dev": "/usr/include/stdio.h",
    "patch": "patch",
    "python3-venv": "python:ensurepip",
    "qemu-system-x86": "qemu-system-x86_64",
    "ca-certificates": "/etc/ssl/certs/ca-certificates.crt",
}
TEST_PACKAGES = {
    "curl": "curl",
    "mtools": "mformat",
    "dosfstools": "/usr/sbin/fsck.fat",
    "wrk": "wrk",
    "chromium-headless-shell": "chromium-headless-shell",
    "iproute2": "ip",
    "nftables": "/usr/sbin/nft",
    "nmap": "nmap",
    "hping3": "/usr/sbin/hping3",
    "tcpdump": "tcpdump",
    "git": "git",
    "openssl": "openssl",
    "openssh-client": "ssh",
    "openssh-server": "/usr/sbin/sshd",
    "mosquitto": "/usr/sbin/mosquitto",
    "mosquitto-clients": "mosquitto_pub",
    "bind9-dnsutils": "dig",
    "dnsperf": "dnsperf",
    "nsd": "/usr/sbin/nsd",
    "iperf": "iperf",
    "iperf3": "iperf3",
    "udhcpc": "udhcpc",
    "isc-dhcp-client": "/sbin/dhclient",
    "isc-dhcp-relay": "/usr/sbin/dhcrelay",
    "dhcpcd-base": "/usr/sbin/dhcpcd",
    "ndisc6": "rdisc6",
    "radvdump": "/usr/sbin/radvdump",
    "rsyslog": "/usr/sbin/rsyslogd",
    "redis-server": "redis-server",
    "redis-tools": "redis-cli",
    "clang": "clang",
    "libclang-rt-dev": "/usr/share/doc/libclang-rt-dev",
    "podman": "podman",
    "runc": "/usr/sbin/runc",
    "slirp4netns": "slirp4netns",
    "catatonit": "catatonit",
    "libvirt-daemon-system": "/usr/sbin/libvirtd",
    "libvirt-clients": "virsh",
    "libxml2-utils": "xmllint",
    "python3-libvirt": "/usr/lib/python3/dist-packages/libvirt.py",
    "grub-pc-bin": "/usr/lib/grub/i386-pc/moddep.lst",
    "grub-efi-amd64-bin": "/usr/lib/grub/x86_64-efi/moddep.lst",
    "grub-common": "grub-mkimage",
    "xorriso": "xorriso",
    "qemu-utils": "qemu-img",
    "ovmf": "/usr/share/OVMF/OVMF_CODE_4M.fd",
}


def say(text: str) -> None:
    print(f"setup: {text}", file=sys.stderr, flush=True)


def missing_packages(wanted: dict[str, str]) -> list[str]:
    """Names of the packages whose proof is not there."""
    return [name for name, proof in wanted.items() if not _there(proof)]


def _there(proof: str) -> bool:
    if proof.startswith("/"):
        return Path(proof).exists()
    if proof.startswith("python:"):
        return _run([sys.executable, "-I", "-c", f"import {proof.removeprefix('python:')}"], quiet=True) == 0
    return shutil.which(proof) is not None


def install_packages(wanted: dict[str, str]) -> None:
    """Install what is missing as root or with sudo. Raises NotFound with the one command to type otherwise."""
    missing = missing_packages(wanted)
    if not missing:
        return
    install = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    prefix = _root_prefix()
    typed = f"sudo apt-get update && sudo {shlex.join(install)}"
    if prefix is None or shutil.which("apt-get") is None:
        raise NotFound(f"not installed: {', '.join(missing)}", hint=f"{typed}\nthen run the same command again")
    say(f"installing {', '.join(missing)}")
    environment = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive"]
    if _run([*environment, "apt-get", "update", "-q"], quiet=True) or _run([*environment, *install], quiet=True):
        raise FloeError(f"apt-get could not install {', '.join(missing)}", hint=typed)
    still = missing_packages(wanted)
    if still:
        raise FloeError(
            f"installed, but still not found: {', '.join(still)}", hint="check PATH, then run the same command again"
        )


def _root_prefix() -> list[str] | None:
    """Words before a command that needs root; None when there is no way to root without asking."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") is None:
        return None
    allowed = _run(["sudo", "-n", "true"], quiet=True) == 0
    return ["sudo"] if allowed or sys.stdin.isatty() else None


def make_venv(tests: bool) -> None:
    """.venv with the pinned packages and floe itself, installed in place."""
    tools = ROOT / "tools"
    files = [tools / "requirements.txt", tools / "pyproject.toml"] + ([tools / "requirements-dev.txt"] if tests else [])
    key = _key([sys.version, str(ROOT), *(path.read_text() for path in files)])
    name = "venv-test" if tests else "venv"
    if _stamped(name, key) and (VENV / "bin" / "floe").exists():
        return
    python = VENV / "bin" / "python"
    if not python.exists() or _run([str(python), "-I", "-m", "pip", "--version"], quiet=True):
        say("making .venv")
        _must([sys.executable, "-I", "-m", "venv", "--clear", str(VENV)], "cannot make .venv")
    say("installing Python packages")
    requirements = [word for path in files if path.name.startswith("requirements") for word in ("-r", str(path))]
    pip = [str(python), "-I", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    _must([*pip, *requirements], "pip could not install the pinned packages")
    _must([*pip, "--no-deps", "--no-build-isolation", "-e", str(tools)], "pip could not install floe")
    _stamp(name, key)


def fetch_upstream() -> None:
    """The sources that port/upstream.toml pins, of the release that is asked for, as port/patches changes them.
    A change of either discards what was compiled from the old sources."""
    file = ROOT / "port" / "upstream.toml"
    release = pins.chosen_release()
    wanted = pins.load_pins(file, release)
    build = ROOT / "build" / release
    upstream.bring_all(wanted, build / "upstream", say, ROOT / "build" / "upstream" / ".download")
    key = _key([file.read_text(), *(stamp for pin in wanted for stamp in pin.stamps.values())])
    if not _stamped(f"pins{release}", key):
        for stale in ("port", "apps", "mpy", "mpy-cross.d", "mpy-cross"):
            path = build / stale
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        _stamp(f"pins{release}", key)


def make_port() -> None:
    """mpy-cross and the port archives of both profiles; make itself knows what is up to date."""
    archives = ROOT / "build" / pins.chosen_release() / "port"
    for profile in ("sealed", "dev"):
        fresh = not (archives / profile / "libfloe.a").exists()
        if fresh:
            say(f"compiling the {profile} port archive (a minute or two)")
        argv = ["make", "-s", "-f", "port/port.mk", f"PROFILE={profile}", f"-j{os.cpu_count() or 1}"]
        began = time.time()
        _must(argv, f"the {profile} port archive could not be compiled")
        checked = archives / profile / "checked"  # port_archive.py's CHECKED
        checked.touch()
        os.utime(checked, (began, began))


def make_programs() -> None:
    """What containers of `floe build --oci` start with (no library of the container's is needed for it), and what
    boot disks of `floe build --disk` start with."""
    _make_program("container-entry", ROOT / "tools" / "floe" / "oci", _ENTRY_FLAGS)
    folder = ROOT / "tools" / "floe" / "bootdisk"
    _make_program("handover", folder, [*_HANDOVER_FLAGS, f"-Wl,-T,{folder.relative_to(ROOT)}/handover.ld"])


def _make_program(name: str, folder: Path, flags: list[str]) -> None:
    made = ROOT / "build" / name
    sources = sorted(path for path in folder.iterdir() if path.suffix in (".c", ".h", ".S", ".ld"))
    key = _key([*(path.read_text() for path in sources), *flags])
    if made.exists() and _stamped(name, key):
        return
    made.parent.mkdir(exist_ok=True)
    part = made.with_name(f".{name}.{os.getpid()}")
    compiled = [str(path.relative_to(ROOT)) for path in sources if path.suffix in (".c", ".S")]
    _must(["gcc", *flags, "-o", str(part), *compiled], f"build/{name} could not be compiled")
    part.replace(made)
    _stamp(name, key)


def _run(argv: list[str], *, quiet: bool) -> int:
    """Exit code of a command. quiet: its output is shown only when it fails in a step that must not."""
    sink = subprocess.DEVNULL if quiet else None
    return subprocess.run(argv, cwd=ROOT, stdout=sink, stderr=sink, timeout=STEP_TIMEOUT_S, check=False).returncode


def _must(argv: list[str], problem: str) -> None:
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=STEP_TIMEOUT_S, check=False)
    if done.returncode:
        tail = (done.stdout + done.stderr).strip().splitlines()[-15:]
        raise FloeError(problem, evidence="\n".join(tail), hint=f"{shlex.join(argv)}\nshows the rest")


def _key(parts: list[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _stamped(name: str, key: str) -> bool:
    path = STAMPS / name
    return path.exists() and path.read_text() == key


def _stamp(name: str, key: str) -> None:
    STAMPS.mkdir(parents=True, exist_ok=True)
    part = STAMPS / f".{name}.{os.getpid()}"
    part.write_text(key)
    part.replace(STAMPS / name)


def main(argv: list[str] | None = None) -> int:
    """Command line of `python3 -m floe.setup`; exit code 0 or that of the error."""
    parser = argparse.ArgumentParser(prog="floe.setup", description="Set up what make run (and make test) need.")
    parser.add_argument("--tests", action="store_true", help="also what the tests need")
    parser.add_argument("--packages", action="store_true", help="the Debian packages, and no more")
    args = parser.parse_args(argv)
    started = time.monotonic()
    try:
        install_packages(RUN_PACKAGES | (TEST_PACKAGES if args.tests else {}))
        if not args.packages:
            make_venv(args.tests)
            fetch_upstream()
            make_port()
            make_programs()
    except subprocess.TimeoutExpired as e:
        print(
            FloeError(f"a step did not end within {STEP_TIMEOUT_S} s", evidence=shlex.join(e.cmd)).render(),
            file=sys.stderr,
        )
        return FloeError.exit_code
    except FloeError as e:
        print(e.render(), file=sys.stderr)
        return e.exit_code
    except OSError as e:
        print(FloeError(f"{e.filename or 'setup'}: {e.strerror or e}").render(), file=sys.stderr)
        return FloeError.exit_code
    except KeyboardInterrupt:
        return Interrupted.exit_code
    say(f"ready ({time.monotonic() - started:.1f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
