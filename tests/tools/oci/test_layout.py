# SPDX-License-Identifier: MIT
"""An OCI image layout: what image-spec asks of it, and the same bytes for the same files."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from floe.errors import UsageError
from floe.oci.layout import Execution, File, Layout, write_tar


def made(folder: Path, source: Path) -> Layout:
    layout = Layout(folder)
    layout.add_layer([File("/usr/bin/program", source, 0o755), File("/lib", link="usr/lib")])
    layout.add_layer([File("/app/words", b"a\0b\0")])
    layout.finish(Execution(["/usr/bin/program"], env=["A=1"], exposed_ports={"80/tcp": {}}), "app:1", {"key": "value"})
    return layout


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "program"
    path.write_bytes(b"\x7fELF" + bytes(5000))
    return path


def blob(folder: Path, descriptor: dict[str, Any]) -> bytes:
    """The content, whose name and size are as they are told."""
    algorithm, _, digest = descriptor["digest"].partition(":")
    raw = (folder / "blobs" / algorithm / digest).read_bytes()
    assert (hashlib.sha256(raw).hexdigest(), len(raw)) == (digest, descriptor["size"])
    return raw


def test_everything_is_named_by_its_digest(tmp_path: Path, source: Path) -> None:
    folder = tmp_path / "layout"
    made(folder, source)
    assert json.loads((folder / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((folder / "index.json").read_text())
    assert index["schemaVersion"] == 2
    (entry,) = index["manifests"]
    assert entry["annotations"] == {"org.opencontainers.image.ref.name": "app:1"}
    manifest = json.loads(blob(folder, entry))
    assert (manifest["schemaVersion"], manifest["mediaType"], manifest["annotations"]) == (
        2,
        entry["mediaType"],
        {"key": "value"},
    )
    config = json.loads(blob(folder, manifest["config"]))
    assert (config["os"], config["architecture"]) == ("linux", "amd64")
    assert config["config"] == {"Entrypoint": ["/usr/bin/program"], "Env": ["A=1"], "ExposedPorts": {"80/tcp": {}}}
    layers = [gzip.decompress(blob(folder, layer)) for layer in manifest["layers"]]
    assert config["rootfs"] == {
        "type": "layers",
        "diff_ids": [f"sha256:{hashlib.sha256(raw).hexdigest()}" for raw in layers],
    }
    assert len(list((folder / "blobs" / "sha256").iterdir())) == 4


def test_a_layer_is_sorted_and_root_s(tmp_path: Path, source: Path) -> None:
    out = io.BytesIO()
    write_tar(out, [File("/usr/bin/program", source, 0o755), File("/lib", link="usr/lib"), File("/app/words", b"a\0")])
    out.seek(0)
    with tarfile.open(fileobj=out) as tar:
        found = tar.getmembers()
        assert [(m.name, m.type, oct(m.mode)) for m in found] == [
            ("app", tarfile.DIRTYPE, "0o755"),
            ("app/words", tarfile.REGTYPE, "0o644"),
            ("lib", tarfile.SYMTYPE, "0o777"),
            ("usr", tarfile.DIRTYPE, "0o755"),
            ("usr/bin", tarfile.DIRTYPE, "0o755"),
            ("usr/bin/program", tarfile.REGTYPE, "0o755"),
        ]
        assert {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in found} == {(0, 0, "", "", 0)}
        content = tar.extractfile("usr/bin/program")
        assert content is not None and content.read() == source.read_bytes()


def test_the_same_files_give_the_same_bytes(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path / "one", source)
    source.touch()
    made(tmp_path / "two", source)
    one, two = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "one", tmp_path / "two")
    )
    assert one == two
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    layout = made(tmp_path / "three", source)
    manifest = json.loads(next(f.content.read_bytes() for f in layout.files() if f.path == "index.json"))  # type: ignore[union-attr]  # paths, all of them
    config = json.loads(blob(layout.folder, json.loads(blob(layout.folder, manifest["manifests"][0]))["config"]))
    assert config["created"] == "2023-11-14T22:13:20Z"


@pytest.mark.parametrize("value", ["yesterday", "-1", "9999999999999", "¹"])
def test_a_date_that_is_none(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", value)
    with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH"):
        write_tar(io.BytesIO(), [])
