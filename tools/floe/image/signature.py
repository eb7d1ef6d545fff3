# SPDX-License-Identifier: MIT
"""Signed images: an OpenSSH signature (PROTOCOL.sshsig of OpenSSH) of the whole file, beside it as IMAGE.sig.

ssh-keygen signs and verifies: whoever reaches other hosts has it, with agents and hardware keys; no library is needed.
The image stays byte for byte as it was built, and `ssh-keygen -Y verify` is all that somebody without floe needs.
Here is read what a signature says of itself, in order to say what is wrong with one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import shlex
import stat
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from fcntl import F_ADD_SEALS, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_WRITE, fcntl
from pathlib import Path

from floe.errors import FloeError, ImageRefused, NotFound, UsageError
from floe.image.elf import MAX_BYTES

NAMESPACE = "floe-image"  # what else is signed with the same key is no image
TOOL = "ssh-keygen"
_SIGNER = "signer"  # the name of all keys in the list that ssh-keygen takes
_MAGIC = b"SSHSIG"
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_MOST = 64 << 10  # bytes of a signature, and of a file of public keys
_SIGN_S = 300  # a passphrase is typed, a hardware key is touched
_VERIFY_S = 60
_PRIVATE = b"PRIVATE KEY-----"


@dataclass(frozen=True)
class Verified:
    """What was verified, byte for byte: a file that nobody can write to, while this process lives."""

    path: Path
    sha256: str


def signature_of(image: Path) -> Path:
    """Where the signature of an image is."""
    return image.with_name(f"{image.name}.sig")


def sign(image: Path, key: Path) -> Path:
    """Sign an image with a private key, or with the agent's that a public one names; the signature's file.

    Raises NotFound, FloeError."""
    if not key.is_file():
        raise NotFound(f"no such key: {key}", hint=f"{TOOL} -t ed25519 -f {shlex.quote(str(key))}")
    out = signature_of(image)
    asked = None if os.isatty(0) else subprocess.DEVNULL
    try:
        with tempfile.TemporaryDirectory(prefix=".floe-sign-", dir=image.absolute().parent) as scratch:
            link = Path(scratch) / "image"  # ssh-keygen names its output by its input, and asks before it replaces one
            link.symlink_to(image.absolute())
            done = _run(["sign", "-f", str(key), "-n", NAMESPACE, str(link)], _SIGN_S, stdin=asked)
            made = signature_of(link)
            if done.returncode or not made.exists():
                raise _unsigned(key, done.stderr)
            made.replace(out)
    except OSError as e:
        raise FloeError(f"cannot write {out}: {e.strerror}", hint="-o names another place") from e
    return out


def verify(image: Path, keys: Path) -> Verified:
    """Check the signature beside an image against a file of public keys, one of which must have made it.

    Raises NotFound, UsageError for what is no file of public keys, ImageRefused for the image."""
    trusted = _public_keys(keys)
    beside = signature_of(image)
    fd = _sealed(image)
    text = _read(beside)
    if text is None:
        raise ImageRefused(f"{image} is not signed: {beside} is missing", hint=_again(image))
    _check(image, text, keys, trusted)
    words = ["verify", "-I", _SIGNER, "-n", NAMESPACE]
    with tempfile.TemporaryDirectory(prefix="floe-verify-") as scratch:
        allowed, signature = Path(scratch) / "allowed", Path(scratch) / "signature"
        allowed.write_text("".join(f"{_SIGNER} {_line(blob)}\n" for blob in trusted))
        signature.write_bytes(text)
        done = _run([*words, "-f", str(allowed), "-s", str(signature)], _VERIFY_S, stdin=fd)
    if done.returncode:
        said = f"{TOOL}: {_last(done.stderr or done.stdout)}"
        raise ImageRefused(f"{image} was changed after it was signed", evidence=said, hint=_again(image))
    return Verified(Path(f"/proc/{os.getpid()}/fd/{fd}"), _digest(fd))


def _check(image: Path, signature: bytes, keys: Path, trusted: Sequence[bytes]) -> None:
    """What a signature says of itself. Raises ImageRefused."""
    beside = signature_of(image)
    key, namespace = _said(signature)
    if not key:
        raise ImageRefused(f"{beside} is no signature, or cut short", hint=_again(image))
    if key not in trusted:
        raise ImageRefused(
            f"{image} is signed with another key than those in {keys}",
            evidence=f"its key: {fingerprint(key)}",
            hint="--verify with the public key of who signed it, if you trust them",
        )
    if namespace != NAMESPACE.encode():
        raise ImageRefused(f"{beside} is a signature of something else than an image", hint=_again(image))


def _again(image: Path) -> str:
    return f"floe build --sign KEY -o {shlex.quote(str(image))} APP"


def fingerprint(key: bytes) -> str:
    """As ssh-keygen -l has it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


def digest(image: Path) -> str:
    """The SHA-256 of a file. Raises OSError."""
    with image.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(fd: int) -> str:
    with open(fd, "rb", closefd=False) as file:
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sealed(image: Path) -> int:
    """A descriptor of what a file holds now: what is verified is what boots, whoever writes to the file meanwhile."""
    fd = os.memfd_create("floe-verified", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with image.open("rb") as file, open(fd, "wb", closefd=False) as copy:
            left = MAX_BYTES + 1
            while left and (piece := file.read(min(left, 1 << 20))):
                copy.write(piece)
                left -= len(piece)
    except FileNotFoundError:
        raise NotFound(f"no such file: {image}") from None
    except OSError as e:
        raise NotFound(f"cannot read {image}: {e.strerror}") from e
    fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _read(path: Path) -> bytes | None:
    """The beginning of a small file; None: it is missing. Raises NotFound, UsageError."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe may never be written to
            raise UsageError(f"{path} is no regular file", hint="a file that can be read twice")
        with path.open("rb") as file:
            return file.read(_MOST)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as e:
        raise NotFound(f"cannot read {path}: {e.strerror}", hint="ls -ld of it and of its folders") from e


def _public_keys(path: Path) -> list[bytes]:
    """The keys of a file, one a line as in id_ed25519.pub and authorized_keys."""
    text = _read(path)
    if text is None:
        raise NotFound(f"no such file of public keys: {path}", hint="the KEY.pub beside the KEY that signed")
    if _PRIVATE in text:
        raise UsageError(f"--verify {path}: that is a private key", hint=f"--verify {path}.pub")
    found = []
    for line in text.decode("utf-8", "replace").splitlines():
        kind, *rest = line.split() or ["#"]
        if kind.startswith("#"):
            continue
        blob = _base64(rest[0]) if rest else None
        if blob is None or _string(blob, 0)[0] != kind.encode():
            raise UsageError(
                f"--verify {path}: no file of public keys", hint=f"{TOOL} -t ed25519 makes KEY and KEY.pub"
            )
        found.append(blob)
    if not found:
        raise UsageError(
            f"--verify {path}: there is no public key in it", hint=f"{TOOL} -t ed25519 makes KEY and KEY.pub"
        )
    return found


def _line(blob: bytes) -> str:
    return f"{_string(blob, 0)[0].decode()} {base64.b64encode(blob).decode()}"


def _said(text: bytes) -> tuple[bytes, bytes]:
    """The key and the namespace that a signature names; b"" where it is none, or not all of it."""
    words = " ".join(text.decode("ascii", "replace").split())
    if not words.startswith(_BEGIN) or not words.endswith(_END):
        return b"", b""
    raw = _base64(words[len(_BEGIN) : -len(_END)].replace(" ", ""))
    if raw is None or not raw.startswith(_MAGIC):
        return b"", b""
    at = len(_MAGIC) + 4  # its version, which ssh-keygen checks
    parts = []
    for _ in range(5):  # key, namespace, reserved, hash, signature
        part, at = _string(raw, at)
        parts.append(part)
    return (parts[0], parts[1]) if at == len(raw) and parts[4] else (b"", b"")


def _string(raw: bytes, at: int) -> tuple[bytes, int]:
    """A string of SSH's, and where it ends; an end behind the bytes if they are too few."""
    if at + 4 > len(raw):
        return b"", len(raw) + 1
    (size,) = struct.unpack_from(">I", raw, at)
    return raw[at + 4 : at + 4 + size], at + 4 + size


def _base64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _run(words: Sequence[str], seconds: float, *, stdin: int | None) -> subprocess.CompletedProcess[str]:
    """ssh-keygen -Y, which asks for a passphrase at the terminal where its standard input is one."""
    argv = [TOOL, "-Y", *words]
    try:
        return subprocess.run(
            argv, stdin=stdin, capture_output=True, text=True, errors="replace", timeout=seconds, check=False
        )
    except FileNotFoundError:
        raise NotFound(f"{TOOL} is not installed", hint="sudo apt install openssh-client") from None
    except subprocess.TimeoutExpired as e:
        raise FloeError(f"{TOOL} did not end within {seconds:g} s", hint="the same again") from e


def _unsigned(key: Path, said: str) -> FloeError:
    """Why ssh-keygen did not sign, from its words."""
    shown = shlex.quote(str(key))
    if "passphrase" in said:
        return FloeError(
            f"{key} is encrypted, and its passphrase was not given",
            hint=f"at a terminal, or by the agent: ssh-add {shown}, and then --sign {shown}.pub",
        )
    if "too open" in said:
        return FloeError(f"{key} can be read by others, and ssh-keygen takes no such key", hint=f"chmod 600 {shown}")
    if "for public key" in said or "agent" in said:
        return FloeError(
            f"{key} is a public key, and no agent has its private one",
            evidence=_last(said),
            hint="ssh-add -l lists what it has",
        )
    return FloeError(
        f"{key} is no private key of OpenSSH's", evidence=f"{TOOL}: {_last(said)}",
        hint=f"{TOOL} -t ed25519 -f KEY makes one",
    )  # fmt: skip


def _last(said: str) -> str:
    return next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "it gave no reason")
