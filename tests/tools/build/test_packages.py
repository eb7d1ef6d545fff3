# SPDX-License-Identifier: MIT
"""index.py, mip.py, pypi.py and lock.py against a local server that is an index of packages, laid out as PyPI's and as
mip's are."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from floe.build import config, contents, index, mip, port_archive
from floe.errors import BuildError, ConfigError
from floe.setup import archive
from tests.support.httphost import Quiet, serve

JSON = "application/vnd.pypi.simple.v1+json"
Member = bytes | str  # content, or "-> where a symbolic link points", or "=> the entry that a hard link names"


def source_archive(folder: str, members: dict[str, Member]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(f"{folder}/{name}")
            if isinstance(content, str):
                info.type = tarfile.SYMTYPE if content.startswith("->") else tarfile.LNKTYPE
                info.linkname = content[3:]
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def wheel(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        for name, content in members.items():
            z.writestr(name, content)
    return out.getvalue()


@dataclass
class Server:
    """bodies: content by path. releases: files of a project, for the simple API, by its normalised name."""

    address: str = ""
    bodies: dict[str, bytes] = field(default_factory=dict)
    releases: dict[str, dict[str, bytes]] = field(default_factory=dict)
    as_json: bool = True
    requests: list[str] = field(default_factory=list)

    def answer(self, path: str) -> tuple[bytes, str] | None:
        parts = path.strip("/").split("/")
        if parts[0] == "simple" and parts[1:] and parts[1] in self.releases:
            files = self.releases[parts[1]]
            digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
            if self.as_json:
                entries = [
                    {"filename": n, "url": f"../../files/{n}", "hashes": {"sha256": d}} for n, d in digests.items()
                ]
                return json.dumps({"files": entries}).encode(), JSON
            links = "".join(f'<a href="../../files/{n}#sha256={d}">{n}</a>' for n, d in digests.items())
            return f"<html>{links}</html>".encode(), "text/html"
        for files in self.releases.values():
            if parts[0] == "files" and parts[1] in files:
                return files[parts[1]], "application/octet-stream"
        return (self.bodies[path], "application/json") if path in self.bodies else None


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = Server()

    class Handler(Quiet):
        def do_GET(self) -> None:
            state.requests.append(self.path)
            found = state.answer(self.path)
            if found is None:
                self.send_error(404)
                return
            body, kind = found
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with serve(Handler) as state.address:
        monkeypatch.setenv("PIP_INDEX_URL", f"{state.address}/simple")
        monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
        monkeypatch.setenv("PIP_FIND_LINKS", "")
        monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
        yield state


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An image's folder; what is fetched for it goes to a cache of its own."""
    monkeypatch.setattr(port_archive, "BUILD", tmp_path / "build")
    monkeypatch.setattr(port_archive, "CACHE", tmp_path / "build")
    (tmp_path / "build").mkdir()
    for name in ("port", "mpy-cross"):
        (tmp_path / "build" / name).symlink_to(port_archive.ROOT / "build" / name)
    folder = tmp_path / "app"
    folder.mkdir()
    return folder


def plan(folder: Path, main: str, packages: str, said: list[str] | None = None) -> contents.Contents:
    (folder / "main.py").write_text(main)
    (folder / "image.toml").write_text(f'name = "app"\n[packages]\n{packages}\n')
    archive = port_archive.load("sealed", port_archive.ROOT / "build")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contents.port_archive, "load", lambda profile: archive)
        return contents.choose(config.load(folder), "sealed", (said if said is not None else []).append)


# ---- PyPI ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_json", [True, False])
def test_an_archive_without_setup_py(server: Server, app: Path, as_json: bool) -> None:
    server.as_json = as_json
    archive = source_archive("micropython-a.b-1.2", {"a/b.py": b"X = 1\n"})
    server.releases["micropython-a-b"] = {
        "micropython-a.b-1.2.tar.gz": archive,
        "micropython-a.b-1.1.tar.gz": b"old",
    }
    made = plan(app, "import a.b\n", '"micropython-a.b" = "1.2"')
    assert made.closure.frozen["a/b.py"].origin == "micropython-a.b 1.2"
    assert hashlib.sha256(archive).hexdigest() in (app / "packages.lock").read_text()


def test_a_wheel_comes_first_and_one_with_machine_code_never(server: Server, app: Path) -> None:
    server.releases["a"] = {
        "a-1-cp311-cp311-linux_x86_64.whl": b"machine code",
        "a-1.tar.gz": source_archive("a-1", {"a.py": b"X = 'source'\n"}),
        "a-1-py3-none-any.whl": wheel({"a.py": b"X = 'wheel'\n"}),
    }
    assert b"wheel" in plan(app, "import a\n", 'a = "1"').closure.frozen["a.py"].path.read_bytes()
    server.releases["b"] = {"b-1-cp311-cp311-linux_x86_64.whl": b"machine code"}
    with pytest.raises(BuildError, match="cannot fetch b 1 from PyPI"):
        plan(app, "import b\n", 'b = "1"')


def test_packages_that_share_a_folder(server: Server, app: Path) -> None:
    """As umqtt.simple and umqtt.robust do; the link out of the archive is left out, and said."""
    server.releases["simple"] = {"simple-1.tar.gz": source_archive("simple-1", {"q/simple.py": b"A = 1\n"})}
    robust: dict[str, Member] = {
        "q/robust.py": b"from . import simple\n",
        "q/simple.py": "-> ../../other/q/simple.py",
    }
    server.releases["robust"] = {"robust-1.tar.gz": source_archive("robust-1", robust)}
    said: list[str] = []
    made = plan(app, "import q.robust\n", 'robust = "1"\nsimple = "1"', said)
    assert {"q/robust.py", "q/simple.py"} <= set(made.closure.frozen)
    assert (
        "robust 1: left out: the symbolic link q/simple.py -> ../../other/q/simple.py, which leaves the archive" in said
    )


def test_a_link_inside_the_archive(server: Server, app: Path) -> None:
    server.releases["a"] = {"a-1.tar.gz": source_archive("a-1", {"lib/a.py": b"X = 1\n", "a.py": "-> lib/a.py"})}
    assert plan(app, "import a\n", 'a = "1"').closure.frozen["a.py"].path.read_bytes() == b"X = 1\n"


DEEP = "a/b/c"
UP: dict[str, Member] = {f"{DEEP}/root": "-> ../../..", f"{DEEP}/up": "-> root/.."}


def test_a_hard_link_is_a_file(server: Server, app: Path) -> None:
    server.releases["a"] = {"a-1.tar.gz": source_archive("a-1", {"b.py": b"X = 1\n", "a.py": "=> a-1/b.py"})}
    frozen = plan(app, "import a\n", 'a = "1"').closure.frozen["a.py"].path
    assert frozen.read_bytes() == b"X = 1\n" and not frozen.is_symlink()


def test_an_archive_without_a_sha256_may_be_damaged_on_its_way(
    server: Server, app: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = index.find
    monkeypatch.setattr(index, "find", lambda *words: dataclasses.replace(find(*words), sha256=""))
    server.releases["a"] = {"a-1.tar.gz": b"no archive"}
    with pytest.raises(BuildError) as caught:
        plan(app, "import a\n", 'a = "1"')
    assert caught.value.hint.startswith("run the same command again")


@pytest.mark.parametrize(
    "content, words",
    [
        (b"no archive", "a-1.tar.gz is damaged"),
        (source_archive("a-1", {"a.py": "=> ../../etc/passwd"}), "has a hard link to no file of its own: a-1/a.py"),
        (source_archive("a-1", {"a.py": "=> a-1/a.py"}), "has a hard link to no file of its own: a-1/a.py"),
        (source_archive("a-1/..", {"x.py": b""}), "has an entry outside its folder"),
        (
            source_archive("a-1", {**UP, f"{DEEP}/up/x.py": b""}),
            "has an entry outside its folder",
        ),
        (source_archive("a-1", {"a": b"", "a/x.py": b""}), "a-1.tar.gz is damaged: "),
        (
            source_archive("a-1", {"a" * 300: b""}),
            "a-1.tar.gz is damaged: File name too long",
        ),
        (
            source_archive("a-1", {"a.py": b"1" * 5000}),
            "a-1.tar.gz is larger than 0 MiB when it is unpacked",
        ),
    ],
    ids=["garbage", "hard link out", "hard link to itself", "parent", "by links", "below a file", "long", "large"],
)
def test_what_is_wrong_with_an_archive(
    server: Server,
    app: Path,
    content: bytes,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(archive, "MAX_BYTES", 4096)
    server.releases["a"] = {"a-1.tar.gz": content}
    with pytest.raises(BuildError) as caught:
        plan(app, "import a\n", 'a = "1"')
    assert words in caught.value.message
    assert caught.value.hint == "another version of the package: the index has the file so, its sha256 is right"
    assert not (app / "packages.lock").exists()
    assert list(app.parent.rglob("x.py")) == []


def test_a_link_that_leaves_by_way_of_another(server: Server, app: Path) -> None:
    server.releases["a"] = {"a-1.tar.gz": source_archive("a-1", {"a.py": b"X = 1\n", f"{DEEP}/x": b"", **UP})}
    said: list[str] = []
    plan(app, "import a\n", 'a = "1"', said)
    assert f"a 1: left out: the symbolic link {DEEP}/up -> root/.., which leaves the archive" in said
    assert list((port_archive.BUILD / "pypi").rglob("up")) == []


def encrypted(archive: bytes) -> bytes:
    """A zip of one entry that says it has a password."""
    out = bytearray(archive)
    out[6] |= 1
    out[out.index(b"PK\1\2") + 8] |= 1
    return bytes(out)


@pytest.mark.parametrize(
    "content, words",
    [
        (b"no wheel", "is damaged: File is not a zip file"),
        (encrypted(wheel({"a.py": b"X = 1\n"})), "is encrypted"),
        (wheel({"../x.py": b""}), "has an entry outside its folder"),
        (wheel({"a.py": b"1" * 5000}), "is larger than 0 MiB when it is unpacked"),
    ],
)
def test_what_is_wrong_with_a_wheel(
    server: Server,
    app: Path,
    content: bytes,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(archive, "MAX_BYTES", 4096)
    server.releases["a"] = {"a-1-py3-none-any.whl": content}
    with pytest.raises(BuildError) as caught:
        plan(app, "import a\n", 'a = "1"')
    assert words in caught.value.message


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"files": 1}',
        b'{"files": [{"url": 5, "filename": "a-1.tar.gz"}]}',
    ],
)
def test_an_index_that_is_none(server: Server, app: Path, body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "answer", lambda path: (body, JSON))
    with pytest.raises(BuildError) as caught:
        plan(app, "import a\n", 'a = "1"')
    assert "no index of packages" in (caught.value.evidence or "")


def test_an_index_with_a_name_that_is_none(server: Server, app: Path) -> None:
    listed = {"files": [{"filename": "a\0-1.tar.gz", "url": "/a.tar.gz"}]}
    server.bodies["/simple/a/"] = server.bodies["/a.tar.gz"] = json.dumps(listed).encode()
    with pytest.raises(BuildError, match="cannot fetch a 1 from PyPI"):
        plan(app, "import a\n", 'a = "1"')


def test_an_archive_of_too_many_entries(server: Server, app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_ENTRIES", 100)
    server.releases["a"] = {"a-1.tar.gz": source_archive("a-1", {f"x{n}.py": b"" for n in range(101)})}
    with pytest.raises(BuildError, match=r"a-1\.tar\.gz has more than 100 entries"):
        plan(app, "import a\n", 'a = "1"')


def test_what_comes_from_the_network_names_no_file_of_the_host(server: Server, app: Path, tmp_path: Path) -> None:
    local = tmp_path / "a-1.tar.gz"
    local.write_bytes(source_archive("a-1", {"a.py": b"SECRET = 1\n"}))
    (tmp_path / "a.py").write_text("SECRET = 1\n")
    listed = {"files": [{"filename": local.name, "url": local.as_uri()}]}
    server.bodies["/simple/a/"] = json.dumps(listed).encode()
    with pytest.raises(BuildError, match="cannot fetch a 1 from PyPI"):
        plan(app, "import a\n", 'a = "1"')
    entry = {"v": 1, "urls": [["a.py", (tmp_path / "a.py").as_uri()]]}
    server.bodies["/pi/package/py/a/latest.json"] = json.dumps(entry).encode()
    with pytest.raises(BuildError, match="names what is not on the network: file:"):
        plan(app, "import a\n", f'a = {{ mip = "a", index = "{server.address}/pi" }}')


def test_a_version_that_is_not_there(server: Server, app: Path) -> None:
    server.releases["a"] = {"a-1.0.tar.gz": b"", "a-1.1.tar.gz": b""}
    with pytest.raises(BuildError) as caught:
        plan(app, "import a\n", 'a = "2"')
    assert caught.value.message == "PyPI has no a 2 that can be frozen"
    assert caught.value.evidence == "it has: 1.0, 1.1"


def test_no_index(server: Server, app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(BuildError) as caught:
        plan(app, "import a\n", 'a = "1"')
    assert "Connection refused" in (caught.value.evidence or "")
    assert index.indexes() == ["http://127.0.0.1:9/simple"]


# ---- the lock -----------------------------------------------------------------------------------


def test_the_lock_holds(server: Server, app: Path) -> None:
    server.releases["a"] = {"a-1.tar.gz": source_archive("a-1", {"a.py": b"X = 1\n"})}
    plan(app, "import a\n", 'a = "1"')
    before = (app / "packages.lock").read_text()
    server.releases["a"] = {"a-1.tar.gz": source_archive("a-1", {"a.py": b"X = 'evil'\n"})}
    plan(app, "import a\n", 'a = "1"')  # from the cache
    for path in sorted((port_archive.BUILD / "pypi").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    with pytest.raises(BuildError, match=r"a 1 is not what packages\.lock holds"):
        plan(app, "import a\n", 'a = "1"')
    assert (app / "packages.lock").read_text() == before


def test_an_entry_follows_image_toml(server: Server, app: Path) -> None:
    for version in ("1", "2"):
        server.releases.setdefault("a", {})[f"a-{version}.tar.gz"] = source_archive("a", {"a.py": b"X = 1\n"})
    plan(app, "import a\n", 'a = "1"')
    plan(app, "import a\n", 'a = "2"')
    assert 'version = "2"' in (app / "packages.lock").read_text()
    plan(app, "print(1)\n", "")
    assert '"a"' not in (app / "packages.lock").read_text()


@pytest.mark.parametrize(
    "text",
    [
        "[a\n",
        'a = "text"\n',
        "[a]\nversion = 1\n",
        "[a]\nasked = 1\nversion = 2\nfiles.x = 3\n",
        '[a]\nasked = "1"\nversion = "1"\nfiles = "ab"\n',
        '[a]\nasked = "1"\nversion = "x/../../y"\nfiles.x = "0"\n',
        f"a = {'9' * 5000}\n",
    ],
)
def test_a_damaged_lock(server: Server, app: Path, text: str) -> None:
    (app / "packages.lock").write_text(text)
    with pytest.raises(ConfigError, match=r"packages\.lock: damaged"):
        plan(app, "print(1)\n", 'a = "1"')


# ---- mip ----------------------------------------------------------------------------------------


def publish(
    server: Server,
    base: str,
    name: str,
    version: str,
    files: dict[str, bytes],
    **more: object,
) -> None:
    """As mip's index has it: package/py/NAME/VERSION.json, and the files by the start of their hash."""
    hashes = []
    for target, content in files.items():
        short = hashlib.sha256(content).hexdigest()[:8]
        server.bodies[f"{base}/file/{short[:2]}/{short}"] = content
        hashes.append([target, short])
    for asked in (version, "latest"):
        text = json.dumps({"v": 1, "version": version, "hashes": hashes, **more})
        server.bodies[f"{base}/package/py/{name}/{asked}.json"] = text.encode()


def test_mip_from_an_index(server: Server, app: Path) -> None:
    publish(server, "/pi", "needed", "0.1", {"needed.py": b"Y = 2\n"})
    publish(
        server,
        "/pi",
        "thing",
        "1.5",
        {"thing/__init__.py": b"import needed\n"},
        deps=[["needed", "latest"]],
    )
    asked = f'thing = {{ mip = "thing", index = "{server.address}/pi" }}'
    made = plan(app, "import thing\n", asked)
    assert {"thing/__init__.py", "needed.py"} <= set(made.closure.frozen)
    assert [(p.name, p.version) for p in made.packages] == [("thing", "1.5")]
    assert 'version = "1.5"' in (app / "packages.lock").read_text()
    publish(server, "/pi", "thing", "1.6", {"thing/__init__.py": b"raise Exception\n"})
    asked_for = len(server.requests)
    assert plan(app, "import thing\n", asked).packages[0].version == "1.5"  # locked
    assert len(server.requests) == asked_for  # and at hand


def test_mip_from_a_repository(server: Server, app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOE_MIP_GITHUB", f"{server.address}/gh")
    text = json.dumps(
        {
            "version": "3",
            "urls": [["a.py", "github:org/repo/src/a.py"], ["b.py", "src/b.py"]],
            "deps": [],
        }
    )
    server.bodies["/gh/org/repo/v3/package.json"] = text.encode()
    server.bodies["/gh/org/repo/HEAD/src/a.py"] = server.bodies["/gh/org/repo/v3/src/a.py"] = b"import b\n"
    server.bodies["/gh/org/repo/v3/src/b.py"] = b"X = 1\n"
    made = plan(app, "import a\n", 'a = { mip = "github:org/repo@v3" }')
    assert {"a.py", "b.py"} <= set(made.closure.frozen)


@pytest.mark.parametrize(
    "entry, words",
    [
        (
            {"hashes": [["../evil.py", "00000000"]]},
            "a file outside the package's folder",
        ),
        ({"hashes": [["a.py", "00000000"]]}, "cannot fetch"),
        ({"hashes": [["a.py", "11111111"]]}, "is not the file that the index names"),
        ({"hashes": 5}, "is no package of mip's"),
        ({"urls": [["a.py", "github:org"]]}, "not github:ORG/REPO"),
        ({"deps": [["a", "latest"], ["gone", "1"]]}, "cannot fetch"),
        ({"urls": [["a.py", "//[x/a.py"]]}, "is no address"),
        ({"urls": [["a\0.py", "a.py"]]}, "no name of a file"),
        ({"urls": [["a" * 256, "a.py"]]}, "no name of a file"),
        ({"urls": [["a", "/a.py"], ["a/b.py", "/a.py"]]}, "two different files want the name a/b.py"),
        ({"urls": [["a/b.py", "/a.py"], ["a", "/a.py"]]}, "two different files want the name a"),
        ({"urls": [[f"{n}.py", "/a.py"] for n in range(5)]}, "files of more than 0 MiB"),
    ],
)
def test_bad_mip(
    server: Server, app: Path, entry: dict[str, object], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mip, "MAX_BYTES", 4 * 6)
    server.bodies["/a.py"] = b"X = 1\n"
    server.bodies["/pi/package/py/a/latest.json"] = json.dumps({"v": 1, **entry}).encode()
    server.bodies["/pi/file/11/11111111"] = b"other\n"
    with pytest.raises(BuildError, match=words):
        plan(app, "import a\n", f'a = {{ mip = "a", index = "{server.address}/pi" }}')
