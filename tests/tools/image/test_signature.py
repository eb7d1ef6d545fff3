# SPDX-License-Identifier: MIT
"""signature.py with real keys: what is signed is what boots, and each thing that may be wrong has its sentence."""

from __future__ import annotations

import base64
import os
import pty
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from floe.cli import main as cli
from floe.errors import FloeError, ImageRefused, NotFound, UsageError
from floe.image import signature

IMAGE = bytes(range(256)) * 64
PASSPHRASE = "a long one"


def keygen(*words: str | Path) -> None:
    subprocess.run(["ssh-keygen", "-q", *map(str, words)], check=True, timeout=60, stdin=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of keys, each beside its NAME.pub."""
    folder = tmp_path_factory.mktemp("keys")
    for name, kind, phrase in (("mine", "ed25519", ""), ("other", "ecdsa", ""), ("locked", "ed25519", PASSPHRASE)):
        keygen("-t", kind, "-N", phrase, "-C", f"{name} of a test", "-f", folder / name)
    keygen("-t", "rsa", "-b", "2048", "-N", "", "-f", folder / "rsa")
    return folder


@pytest.fixture(autouse=True)
def nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """No agent of whoever runs the tests, and no window that asks for a passphrase."""
    for name in ("SSH_AUTH_SOCK", "SSH_ASKPASS", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "an image.elf"
    path.write_bytes(IMAGE)
    return path


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    socket = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()  # it listens
    monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
    yield
    process.terminate()
    process.wait(20)
    process.stdout.close()


def refused(image: Path, keys: Path, kind: type[FloeError] = ImageRefused) -> FloeError:
    with pytest.raises(kind) as raised:
        signature.verify(image, keys)
    assert raised.value.hint
    assert "\n" not in raised.value.message
    return raised.value


@pytest.mark.parametrize("key", ["mine", "other", "rsa"])
def test_what_was_signed_is_verified(image: Path, keys: Path, key: str) -> None:
    assert signature.sign(image, keys / key) == image.with_name("an image.elf.sig")
    assert image.read_bytes() == IMAGE
    verified = signature.verify(image, keys / f"{key}.pub")
    assert verified.path.read_bytes() == IMAGE
    assert verified.sha256 == signature.digest(image)
    assert sorted(path.name for path in image.parent.iterdir()) == ["an image.elf", "an image.elf.sig"]


def test_openssh_alone_verifies_it(image: Path, keys: Path) -> None:
    signature.sign(image, keys / "mine")
    allowed = image.with_name("allowed")
    allowed.write_text(f"me {(keys / 'mine.pub').read_text()}")
    argv = ["ssh-keygen", "-Y", "verify", "-f", allowed, "-I", "me", "-n", "floe-image", "-s", f"{image}.sig"]
    with image.open("rb") as file:
        done = subprocess.run(argv, stdin=file, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith('Good "floe-image" signature for me')


def test_what_was_verified_cannot_change(image: Path, keys: Path) -> None:
    signature.sign(image, keys / "mine")
    verified = signature.verify(image, keys / "mine.pub")
    image.write_bytes(b"another")
    assert verified.path.read_bytes() == IMAGE
    with pytest.raises(OSError), verified.path.open("r+b") as file:
        file.write(b"x")


@pytest.mark.parametrize("at", [0, 1, len(IMAGE) // 2, len(IMAGE) - 1])
def test_another_byte_anywhere(image: Path, keys: Path, at: int) -> None:
    signature.sign(image, keys / "mine")
    raw = bytearray(IMAGE)
    raw[at] ^= 1
    image.write_bytes(raw)
    assert refused(image, keys / "mine.pub").message == f"{image} was changed after it was signed"


@pytest.mark.parametrize("content", [b"", IMAGE[:-1], IMAGE + b"\0"])
def test_bytes_less_or_more(image: Path, keys: Path, content: bytes) -> None:
    signature.sign(image, keys / "mine")
    image.write_bytes(content)
    assert "was changed after it was signed" in refused(image, keys / "mine.pub").message


def test_another_images_signature(image: Path, keys: Path) -> None:
    other = image.with_name("other.elf")
    other.write_bytes(b"other")
    signature.sign(other, keys / "mine").rename(signature.signature_of(image))
    assert "was changed after it was signed" in refused(image, keys / "mine.pub").message


def test_no_signature(image: Path, keys: Path) -> None:
    error = refused(image, keys / "mine.pub")
    assert error.message == f"{image} is not signed: {image}.sig is missing"
    assert error.hint.startswith("floe build --sign KEY -o ")


def test_another_key(image: Path, keys: Path) -> None:
    signature.sign(image, keys / "other")
    error = refused(image, keys / "mine.pub")
    assert error.message == f"{image} is signed with another key than those in {keys / 'mine.pub'}"
    listed = subprocess.run(["ssh-keygen", "-lf", str(keys / "other.pub")], capture_output=True, text=True, check=True)
    assert error.evidence == f"its key: {listed.stdout.split()[1]}"


def test_one_of_several_keys(image: Path, keys: Path, tmp_path: Path) -> None:
    signature.sign(image, keys / "other")
    several = tmp_path / "trusted"
    texts = ["# those who may sign\n\n", *((keys / f"{name}.pub").read_text() for name in ("mine", "other"))]
    several.write_text("".join(texts))
    assert signature.verify(image, several).sha256


def test_a_signature_of_something_else(image: Path, keys: Path) -> None:
    keygen("-Y", "sign", "-f", keys / "mine", "-n", "file", image)
    assert "is a signature of something else than an image" in refused(image, keys / "mine.pub").message


def test_a_signature_that_is_cut_or_changed(image: Path, keys: Path) -> None:
    """At any byte: never is it taken for one, and what ssh-keygen says of it is not all that is said."""
    beside = signature.sign(image, keys / "mine")
    raw = beside.read_bytes()
    for length in range(0, len(raw) - 1, 7):
        beside.write_bytes(raw[:length])
        assert refused(image, keys / "mine.pub").message == f"{beside} is no signature, or cut short"
    for at in range(0, len(raw), 23):
        beside.write_bytes(raw[:at] + bytes([raw[at] ^ 4]) + raw[at + 1 :])
        refused(image, keys / "mine.pub")
    body = base64.b64decode("".join(raw.decode().splitlines()[1:-1]))
    for length in range(0, len(body), 11):
        text = base64.b64encode(body[:length]).decode()
        beside.write_text(f"-----BEGIN SSH SIGNATURE-----\n{text}\n-----END SSH SIGNATURE-----\n")
        assert "is no signature, or cut short" in refused(image, keys / "mine.pub").message


def test_no_public_keys(image: Path, keys: Path, tmp_path: Path) -> None:
    signature.sign(image, keys / "mine")
    nothere = refused(image, tmp_path / "nothere", NotFound)
    assert nothere.message == f"no such file of public keys: {tmp_path / 'nothere'}"
    assert refused(image, tmp_path, UsageError).message == f"{tmp_path} is no regular file"
    private = refused(image, keys / "mine", UsageError)
    assert private.message == f"--verify {keys / 'mine'}: that is a private key"
    assert private.hint == f"--verify {keys / 'mine'}.pub"
    wrong = tmp_path / "wrong"
    for text in ("hello\n", "ssh-ed25519\n", "ssh-ed25519 !!!\n", "ssh-rsa " + (keys / "mine.pub").read_text()[12:]):
        wrong.write_text(text)
        assert refused(image, wrong, UsageError).message == f"--verify {wrong}: no file of public keys"
    wrong.write_text("\n# none\n")
    assert refused(image, wrong, UsageError).message == f"--verify {wrong}: there is no public key in it"


def unsigned(image: Path, key: Path, kind: type[FloeError] = FloeError) -> FloeError:
    with pytest.raises(kind) as raised:
        signature.sign(image, key)
    assert raised.value.hint
    assert [path for path in image.parent.iterdir() if "sig" in path.name] == []
    return raised.value


def test_no_private_key(image: Path, keys: Path, tmp_path: Path) -> None:
    assert unsigned(image, tmp_path / "nothere", NotFound).message == f"no such key: {tmp_path / 'nothere'}"
    text = tmp_path / "text"
    text.write_text("no key\n")
    text.chmod(0o600)
    assert unsigned(image, text).message == f"{text} is no private key of OpenSSH's"
    cut = tmp_path / "cut"
    cut.write_text((keys / "mine").read_text()[:150])
    cut.chmod(0o600)
    assert unsigned(image, cut).message == f"{cut} is no private key of OpenSSH's"
    loose = tmp_path / "loose"
    shutil.copy(keys / "mine", loose)
    loose.chmod(0o644)
    error = unsigned(image, loose)
    assert (error.message, error.hint) == (
        f"{loose} can be read by others, and ssh-keygen takes no such key",
        f"chmod 600 {loose}",
    )


def test_an_encrypted_key_without_a_terminal(image: Path, keys: Path) -> None:
    error = unsigned(image, keys / "locked")
    assert error.message == f"{keys / 'locked'} is encrypted, and its passphrase was not given"
    assert f"ssh-add {keys / 'locked'}, and then --sign {keys / 'locked'}.pub" in error.hint


def test_an_encrypted_key_at_a_terminal(image: Path, keys: Path) -> None:
    """The child has a terminal of its own, where ssh-keygen asks."""
    child, terminal = pty.fork()
    if child == 0:
        code = 1
        try:
            signature.sign(image, keys / "locked")
            code = 0
        finally:
            os._exit(code)
    said = b""
    while b"passphrase" not in said:
        said += os.read(terminal, 1000)
    os.write(terminal, PASSPHRASE.encode() + b"\n")
    assert os.waitpid(child, 0)[1] == 0
    os.close(terminal)
    assert signature.verify(image, keys / "locked.pub").sha256


@pytest.mark.usefixtures("agent")
def test_a_key_of_the_agent(image: Path, keys: Path) -> None:
    public = keys / "mine.pub"
    subprocess.run(["ssh-add", "-q", str(keys / "mine")], check=True, timeout=60, stdin=subprocess.DEVNULL)
    alone = image.with_name("alone.pub")
    shutil.copy(public, alone)
    signature.sign(image, alone)
    assert signature.verify(image, public).sha256


def test_a_public_key_without_an_agent(image: Path, keys: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.pub"
    shutil.copy(keys / "other.pub", alone)
    assert unsigned(image, alone).message == f"{alone} is a public key, and no agent has its private one"


def test_without_ssh_keygen(image: Path, keys: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    signature.sign(image, keys / "mine")
    monkeypatch.setenv("PATH", str(tmp_path))
    for call in (lambda: signature.verify(image, keys / "mine.pub"), lambda: signature.sign(image, keys / "mine")):
        with pytest.raises(NotFound) as raised:
            _run(call)
        assert raised.value.message == "ssh-keygen is not installed"
        assert raised.value.hint == "sudo apt install openssh-client"


def _run(call: Callable[[], object]) -> None:
    call()


def test_floe_build_signs(tmp_path: Path, keys: Path, capfd: pytest.CaptureFixture[str]) -> None:
    app, out = tmp_path / "app.py", tmp_path / "app.elf"
    app.write_text("print('hello')\n")
    assert cli.run(["build", str(app), "-o", str(out), "--sign", str(keys / "mine")]) == 0
    assert f"floe: wrote {out}.sig\n" in capfd.readouterr().err
    assert signature.verify(out, keys / "mine.pub").sha256
    assert cli.run(["build", str(app), "-o", str(out), "--sign", str(tmp_path / "none")]) == 127
