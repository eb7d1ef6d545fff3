# SPDX-License-Identifier: MIT
"""`floe build --oci`: where it writes, what engines read of it, and the words for the first process."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from floe.build import config
from floe.errors import NotFound, UsageError
from floe.image import elf
from floe.oci import image, qemufiles, rootfs
from floe.oci.layout import File
from tests.support.command import floe

IMAGE = """name = "My.App"
version = "1.2+x"
ports = ["8080:80", "5353:53/udp", "9000:80"]
args = ["first"]
secrets = ["key"]
[env]
COLOUR = "red"
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("app")
    (folder / "image.toml").write_text(IMAGE)
    (folder / "main.py").write_text("import socket\n")
    return folder


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """QEMU's layer is a file."""
    monkeypatch.setattr(qemufiles, "needed", lambda: [File("/usr/bin/qemu", b"qemu", 0o755)])


@pytest.fixture(scope="module")
def made(app: Path) -> elf.Image:
    done = floe("build", str(app), "-o", str(app / "app.elf"))
    assert done.returncode == 0, done.stderr
    return elf.read(app / "app.elf")


def config_of(folder: Path) -> dict[str, Any]:
    def blob(digest: str) -> Any:
        return json.loads((folder / "blobs" / digest.replace(":", "/")).read_bytes())

    index = json.loads((folder / "index.json").read_bytes())
    return dict(blob(blob(index["manifests"][0]["digest"])["config"]["digest"])["config"])


@pytest.mark.usefixtures("small")
def test_engines_read_image_toml(tmp_path: Path, app: Path, made: elf.Image) -> None:
    settings = config.load(app)
    out = image.write(made, settings, tmp_path / "oci")
    told = config_of(out)
    assert told["Entrypoint"] == ["/floe/entry"]
    assert (told["Cmd"], told["Env"], told["StopSignal"]) == (["first"], ["COLOUR=red"], "SIGTERM")
    assert told["ExposedPorts"] == {"80/tcp": {}, "53/udp": {}}
    assert told["Healthcheck"]["Test"] == ["CMD", "/floe/healthy"]
    assert told["Labels"]["com.urunc.unikernel.binary"] == "/floe/image.elf"
    assert image.name(settings) == "my-app:1.2-x"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == [], "nothing is left behind"


@pytest.mark.usefixtures("small")
def test_an_earlier_image_is_replaced_and_nothing_else(tmp_path: Path, app: Path, made: elf.Image) -> None:
    settings, out = config.load(app), tmp_path / "oci"
    image.write(made, settings, out)
    (out / "blobs" / "sha256" / "stale").touch()
    image.write(made, settings, out)
    assert not (out / "blobs" / "sha256" / "stale").exists()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds something else than an image"):
        image.write(made, settings, out)
    assert (out / "notes.txt").read_text() == "mine"
    (out / "notes.txt").unlink()
    index = json.loads((out / "index.json").read_bytes())
    several = json.dumps({**index, "manifests": index["manifests"] * 2})
    (out / "index.json").write_text(several)  # somebody else's, who keeps more in it
    with pytest.raises(UsageError, match="holds something else than an image"):
        image.write(made, settings, out)
    (out / "index.json").write_text(json.dumps(index))
    image.write(made, settings, out)
    for name in ("x.TAR", "x.tar.gz", "x.tgz"):
        with pytest.raises(UsageError, match="would be no archive"):
            image.write(made, settings, tmp_path / name)
    (out / "oci-layout").unlink()
    with pytest.raises(UsageError, match="holds something else than an image"):
        image.write(made, settings, out)
    with pytest.raises(UsageError, match=r"does not end in \.tar"):
        image.write(made, settings, app / "main.py")
    with pytest.raises(NotFound, match="cannot write"):
        image.write(made, settings, tmp_path / "none" / "oci")


@pytest.mark.usefixtures("small")
def test_a_tar_has_the_same_layout(tmp_path: Path, app: Path, made: elf.Image) -> None:
    settings = config.load(app)
    folder = image.write(made, settings, tmp_path / "oci")
    first = image.write(made, settings, tmp_path / "one.tar").read_bytes()
    assert image.write(made, settings, tmp_path / "two.tar").read_bytes() == first
    with tarfile.open(tmp_path / "one.tar") as tar:
        # Of a file there is always something to read, which typeshed does not know.
        files = {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}  # type: ignore[union-attr]  # a file has one
    assert files == {os.path.relpath(path, folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_words_of_the_first_process(app: Path, made: elf.Image) -> None:
    files = {f.path: f for f in rootfs.files(made, config.load(app), "/usr/bin/qemu", image.ENTRY)}
    words = {
        path: file.content.decode().split("\0")[:-1]
        for path, file in files.items()
        if isinstance(file.content, bytes) and not file.link
    }
    assert words["/floe/ports"] == ["80"]
    assert words["/floe/secrets"] == ["key"]
    assert words["/floe/stop"] == ["\x03"]
    for kind in ("kvm", "tcg"):
        argv = words[f"/floe/{kind}"]
        assert argv[0] == "/usr/bin/qemu"
        assert argv[argv.index("-accel") + 1] == kind
        assert argv[argv.index("-kernel") + 1] == "/floe/image.elf"
        assert argv[-2] == "-append" and "floe.env=1" in argv[-1].split()
        (net,) = (word for word in argv if word.startswith("user,"))
        assert "hostfwd=tcp:0.0.0.0:80-192.0.2.15:80" in net
        assert "hostfwd=udp:0.0.0.0:53-192.0.2.15:53" in net
    assert files["/floe/entry"].mode == 0o755
    assert files["/floe/healthy"].link == "entry"


def test_without_the_first_process(app: Path, made: elf.Image, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="first process is not compiled") as caught:
        rootfs.files(made, config.load(app), "/usr/bin/qemu", tmp_path / "none")
    assert caught.value.hint == "make setup"
