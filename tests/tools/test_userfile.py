# SPDX-License-Identifier: MIT
"""What a user names is read only where it is a file of a size that is believed, and replaced only where it is a file."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from floe.build import config, lock, pipeline, romfs
from floe.errors import BuildError, ConfigError, FloeError, NotFound, UsageError
from floe.userfile import MAX_TEXT, read_file


def fifo(path: Path) -> None:
    os.mkfifo(path)


def sparse(path: Path) -> None:
    """One TiB of zeros that take no room."""
    with path.open("wb") as file:
        file.truncate(1 << 40)


def folder_of(path: Path, toml: str = "") -> Path:
    path.mkdir()
    (path / "main.py").write_text("print(1)\n")
    (path / "image.toml").write_text(f'name = "app"\n{toml}')
    return path


ODD = [(fifo, "is no file"), (sparse, "has more than 16 MiB")]
PLACES = ["image.toml", "module.py", "packages.lock", "ca.pem"]


@pytest.mark.parametrize("make, words", ODD)
@pytest.mark.parametrize("name", PLACES)
def test_no_file_of_an_image_can_hang_or_fill_memory(
    tmp_path: Path, make: Callable[[Path], None], words: str, name: str
) -> None:
    app = folder_of(tmp_path / "app", '[packages]\na = "1"\n' if name == "packages.lock" else "")
    (app / "main.py").write_text("import module\n")
    if name == "ca.pem":
        (app / "image.toml").write_text('name = "app"\n[tls]\nca = "ca.pem"\n')
    (app / name).unlink(missing_ok=True)
    make(app / name)
    with pytest.raises(FloeError, match=f"{words}|no such file: ca.pem"):
        pipeline.build(app)


def test_a_file_that_grows_while_it_is_read(tmp_path: Path) -> None:
    with pytest.raises(FloeError, match="is no file"):
        read_file(Path("/dev/zero"))
    (tmp_path / "a").write_bytes(b"x" * 5)
    assert read_file(tmp_path / "a", 5) == b"x" * 5
    with pytest.raises(FloeError, match="has more than"):
        read_file(tmp_path / "a", 4)
    assert MAX_TEXT >= 1 << 20


def test_links_in_data_that_lead_back(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for name in ("a", "b"):
        (data / name).mkdir(parents=True)
        (data / name / "text").write_text(name)
    (data / "b" / "a").symlink_to("../a")
    assert romfs.make(data).files["b/a/text"] == 1
    (data / "a" / "b").symlink_to("../b")
    with pytest.raises(BuildError, match=r"b/a: a link to a folder that it is in"):
        romfs.make(data)
    (data / "a" / "b").unlink()
    (data / "self").symlink_to(".")
    with pytest.raises(BuildError, match=r"self: a link to a folder that it is in"):
        romfs.make(data)


@pytest.mark.parametrize("key", ["main", "data", "tls.ca"])
@pytest.mark.parametrize("value, words", [(r"a\u0000b", "null (byte|character)"), ("x" * 5000, "File name too long")])
def test_a_path_that_is_none(tmp_path: Path, key: str, value: str, words: str) -> None:
    app = folder_of(tmp_path / "app", f'{key} = "{value}"\n')
    with pytest.raises(ConfigError, match=rf"image\.toml:2: {key}: .* is no path: .*{words}"):
        config.load(app)


def test_a_device_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("print(1)\n")
    (tmp_path / "link").symlink_to("pipe")
    fifo(tmp_path / "pipe")
    built = pipeline.build(tmp_path / "a.py")
    for name in ("pipe", "link"):
        with pytest.raises(UsageError, match="is no file"):
            pipeline.export(built, tmp_path / name)
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.py", "link", "pipe"]


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.py").write_text("print(1)\n")
    built = pipeline.build(tmp_path / "a.py")

    def refuse(*args: object, **more: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(pipeline.shutil, "copyfile", refuse)
    monkeypatch.setattr(Path, "write_text", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(NotFound, match=r"cannot write .*a\.elf: Read-only file system"):
        pipeline.export(built, tmp_path / "a.elf")
    said: list[str] = []
    lock.Lock(tmp_path / lock.FILE_NAME, changed=True).save(set(), said.append)
    assert said == [
        f"{tmp_path / lock.FILE_NAME} cannot be written: Read-only file system: the packages are not locked"
    ]


def test_a_lock_file_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / lock.FILE_NAME).mkdir()
    with pytest.raises(FloeError, match=r"packages\.lock"):
        lock.Lock.load(tmp_path)
