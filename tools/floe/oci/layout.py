# SPDX-License-Identifier: MIT
"""An OCI image layout (opencontainers/image-spec 1.1: image-layout.md, manifest.md, config.md, layer.md). The same
files give the same bytes: entries are sorted, owned by root, and as old as SOURCE_DATE_EPOCH says, else from 1970.
"""

from __future__ import annotations

import datetime
import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

import msgspec

from floe.units import epoch

_CHUNK = 1 << 20
_GZIP_LEVEL = 4  # 3 % larger than level 6, in half the time
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_INDEX = "application/vnd.oci.image.index.v1+json"


class Descriptor(msgspec.Struct, rename="camel", omit_defaults=True):
    """descriptor.md"""

    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] = {}


class _Manifest(msgspec.Struct, rename="camel", omit_defaults=True):
    media_type: str
    config: Descriptor
    layers: list[Descriptor]
    annotations: dict[str, str] = {}
    schema_version: int = msgspec.field(default_factory=lambda: 2)  # never left out


class _Index(msgspec.Struct, rename="camel"):
    media_type: str
    manifests: list[Descriptor]
    schema_version: int = 2


class Healthcheck(msgspec.Struct, rename="pascal"):
    """Docker's, for which config.md keeps the name. Times in ns."""

    test: list[str]
    interval: int
    timeout: int
    start_period: int
    retries: int


class Execution(msgspec.Struct, rename="pascal", omit_defaults=True):
    """What a container of the image runs: `config` of config.md."""

    entrypoint: list[str]
    cmd: list[str] = []
    env: list[str] = []
    exposed_ports: dict[str, dict[str, str]] = {}
    labels: dict[str, str] = {}
    stop_signal: str = ""
    healthcheck: Healthcheck | None = None


class _RootFs(msgspec.Struct):
    diff_ids: list[str]
    type: str = "layers"


class _Config(msgspec.Struct):
    created: str
    config: Execution
    rootfs: _RootFs
    architecture: str = "amd64"
    os: str = "linux"


@dataclass(frozen=True)
class File:
    """A file of a layer, by its path in the container: its bytes, a file of this machine that has them, or the target
    of a link."""

    path: str
    content: bytes | Path = b""
    mode: int = 0o644
    link: str = ""


@dataclass
class Layout:
    """A layout under construction in a folder that is empty."""

    folder: Path
    layers: list[Descriptor] = field(default_factory=list)
    diff_ids: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._blobs.mkdir(parents=True)

    @property
    def _blobs(self) -> Path:
        return self.folder / "blobs" / "sha256"

    def add_layer(self, files: Iterable[File]) -> None:
        """Put a layer on those that are there. Raises OSError."""
        part = self._blobs / ".part"
        with part.open("wb") as out:
            packed = _Hashed(out)
            with gzip.GzipFile("", "wb", _GZIP_LEVEL, packed, mtime=0) as zipped:
                raw = _Hashed(zipped)
                write_tar(raw, files)
        self.layers.append(Descriptor(_LAYER, packed.digest, packed.size))
        self.diff_ids.append(raw.digest)
        part.rename(self._blobs / packed.digest.partition(":")[2])

    def finish(self, execution: Execution, name: str, annotations: Mapping[str, str]) -> None:
        """Write what names the layers. name: NAME:TAG, for whoever loads it. Raises OSError."""
        created = datetime.datetime.fromtimestamp(epoch(), datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        config = self._blob(_CONFIG, _Config(created, execution, _RootFs(self.diff_ids)))
        manifest = self._blob(_MANIFEST, _Manifest(_MANIFEST, config, self.layers, dict(annotations)))
        manifest.annotations = {"org.opencontainers.image.ref.name": name}
        (self.folder / "index.json").write_bytes(_json(_Index(_INDEX, [manifest])))
        (self.folder / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))

    def _blob(self, media_type: str, value: msgspec.Struct) -> Descriptor:
        raw = _json(value)
        digest = hashlib.sha256(raw).hexdigest()
        (self._blobs / digest).write_bytes(raw)
        return Descriptor(media_type, f"sha256:{digest}", len(raw))

    def files(self) -> list[File]:
        """The layout's own files."""
        found = (path for path in self.folder.rglob("*") if path.is_file())
        return [File(str(path.relative_to(self.folder)), path) for path in found]


class _Hashed:
    """A stream to write to, its size and its SHA-256 so far."""

    def __init__(self, out: Any) -> None:
        self._out = out
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self.size += len(data)
        self._out.write(data)
        return len(data)

    def flush(self) -> None:
        self._out.flush()

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


def write_tar(out: Any, files: Iterable[File]) -> None:
    """An archive of the files, and of the folders that they lie in. Raises OSError."""
    when = epoch()
    by_path = {file.path.strip("/"): file for file in files}
    folders = {str(parent) for path in by_path for parent in PurePosixPath(path).parents} - {"."}
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(folders | set(by_path)):
            file = by_path.get(path)
            info = tarfile.TarInfo(path)
            info.mtime, info.mode = when, file.mode if file else 0o755
            if file is None:
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
            elif file.link:
                info.type, info.linkname, info.mode = tarfile.SYMTYPE, file.link, 0o777
                tar.addfile(info)
            else:
                with _opened(file.content) as content:
                    info.size = content.seek(0, io.SEEK_END)
                    content.seek(0)
                    tar.addfile(info, content)


def _opened(content: bytes | Path) -> IO[bytes]:
    return content.open("rb") if isinstance(content, Path) else io.BytesIO(content)


def labels_of(folder: Path) -> dict[str, str] | None:
    """Of the one image of a layout; None: it has several, or is none."""

    def blob(digest: str) -> bytes:
        return (folder / "blobs" / "sha256" / Path(digest.partition(":")[2]).name).read_bytes()

    try:
        (only,) = msgspec.json.decode((folder / "index.json").read_bytes(), type=_Index).manifests
        config = msgspec.json.decode(blob(only.digest), type=_Manifest).config
        return msgspec.convert(msgspec.json.decode(blob(config.digest))["config"].get("Labels", {}), dict[str, str])
    except (OSError, ValueError, LookupError, AttributeError, TypeError, msgspec.MsgspecError):
        return None


def _json(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"
