# SPDX-License-Identifier: MIT
"""floe.setup.upstream against a local HTTP server and a stand-in for apt-get: every way a fetch can go wrong."""

from __future__ import annotations

import errno
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from floe.errors import ConfigError, UpstreamError
from floe.setup import archive, upstream
from floe.setup.pins import Origin, Patch, Pin, load_pins
from floe.setup.upstream import Fetcher, HashMismatch, bring_all
from tests.support.httphost import Quiet, serve

REPO = Path(__file__).parents[3]


def tar_of(files: dict[str, bytes], kind: str = "gz") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=f"w:{kind}") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.mode = 0o755 if name.endswith(".sh") else 0o644
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


@dataclass
class Server:
    """What the server answers, by path; requests as they came."""

    files: dict[str, bytes] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)  # path -> bytes sent before the connection ends
    requests: list[tuple[str, str]] = field(default_factory=list)  # (path, Range header)
    address: str = ""


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(Quiet):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            state.requests.append((self.path, wanted))
            content = state.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            if start >= len(content) > 0:
                self.send_error(416)
                return
            body = content[start:]
            self.send_response(206 if wanted else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: state.cut.pop(self.path, len(body))])

    with serve(Handler) as state.address:
        yield state


def pin_of(server: Server, content: bytes, file: str = "thing-1.0.tar.gz", sha256: str = "") -> Pin:
    server.files[f"/{file}"] = content
    digest = sha256 or hashlib.sha256(content).hexdigest()
    return Pin("thing", "1.0", "MIT", (), (Origin("url", file, digest, url=f"{server.address}/{file}"),))


GOOD = {"thing-1.0/README": b"hello\n", "thing-1.0/src/run.sh": b"#!/bin/sh\n"}


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_fetches_verifies_and_unpacks(server: Server, tmp_path: Path, kind: str) -> None:
    pin = pin_of(server, tar_of(GOOD, kind), f"thing-1.0.tar.{kind}")
    said: list[str] = []
    assert bring_all([pin], tmp_path, said.append) == 1
    assert (tmp_path / "thing/README").read_bytes() == b"hello\n"
    assert (tmp_path / "thing/src/run.sh").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "thing/README").stat().st_mode & 0o777 == 0o644
    assert any("fetching" in text for text in said)


def test_zip(server: Server, tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        z.writestr("thing-1.0/", "")
        z.writestr("thing-1.0/a/b.c", "int x;\r\n")
    bring_all([pin_of(server, out.getvalue(), "thing-1.0.zip")], tmp_path, print)
    assert (tmp_path / "thing/a/b.c").read_bytes() == b"int x;\r\n"


def test_second_run_does_nothing(server: Server, tmp_path: Path) -> None:
    pin = pin_of(server, tar_of(GOOD))
    bring_all([pin], tmp_path, print)
    asked = len(server.requests)
    said: list[str] = []
    assert bring_all([pin], tmp_path, said.append) == 0
    assert len(server.requests) == asked
    assert said == []


def test_another_root_takes_what_was_downloaded(server: Server, tmp_path: Path) -> None:
    pin = pin_of(server, tar_of(GOOD))
    bring_all([pin], tmp_path / "up", print)
    assert bring_all([pin], tmp_path / "next" / "up", print, tmp_path / "up" / ".download") == 1
    assert (tmp_path / "next/up/thing/README").exists()
    assert len(server.requests) == 1


def test_new_version_replaces_the_old(server: Server, tmp_path: Path) -> None:
    bring_all([pin_of(server, tar_of(GOOD))], tmp_path, print)
    newer = pin_of(server, tar_of({"thing-1.1/OTHER": b"new"}), "thing-1.1.tar.gz")
    assert bring_all([newer], tmp_path, print) == 1
    assert (tmp_path / "thing/OTHER").exists()
    assert not (tmp_path / "thing/README").exists()


def test_wrong_hash_stops_and_leaves_nothing(server: Server, tmp_path: Path) -> None:
    good = tar_of(GOOD)
    bad = pin_of(server, good, sha256="0" * 64)
    other = Origin("url", "mirror.tar.gz", hashlib.sha256(good).hexdigest(), url=f"{server.address}/mirror.tar.gz")
    server.files["/mirror.tar.gz"] = good
    pin = Pin("thing", "1.0", "MIT", (), (*bad.origins, other))
    with pytest.raises(HashMismatch) as raised:
        bring_all([pin], tmp_path, print)
    assert "is not the pinned thing 1.0" in raised.value.message
    assert "0" * 64 in raised.value.evidence
    assert hashlib.sha256(good).hexdigest() in raised.value.evidence
    assert "/mirror.tar.gz" not in [path for path, _ in server.requests]
    assert not (tmp_path / "thing").exists()
    assert list((tmp_path / ".download").iterdir()) == []


def test_falls_to_the_next_origin(server: Server, tmp_path: Path) -> None:
    good = pin_of(server, tar_of(GOOD))
    gone = Origin("url", "gone.tar.gz", "1" * 64, url=f"{server.address}/gone.tar.gz")
    dead = Origin("url", "dead.tar.gz", "2" * 64, url="http://127.0.0.1:9/dead.tar.gz")
    said: list[str] = []
    bring_all([Pin("thing", "1.0", "MIT", (), (gone, dead, *good.origins))], tmp_path, said.append)
    assert (tmp_path / "thing/README").exists()
    assert any("404" in text for text in said)
    assert any("not reachable" in text for text in said)


def test_no_origin_answers(server: Server, tmp_path: Path) -> None:
    gone = Origin("url", "gone.tar.gz", "1" * 64, url=f"{server.address}/gone.tar.gz")
    dead = Origin("url", "dead.tar.gz", "2" * 64, url="http://127.0.0.1:9/dead.tar.gz")
    with pytest.raises(UpstreamError) as raised:
        bring_all([Pin("thing", "1.0", "MIT", (), (gone, dead))], tmp_path, print)
    assert raised.value.message == "cannot fetch thing 1.0"
    assert "the server answered 404" in raised.value.evidence
    assert "Connection refused" in raised.value.evidence
    assert "apt sources" in raised.value.hint


def test_cut_connection_is_resumed(server: Server, tmp_path: Path) -> None:
    content = tar_of({"thing-1.0/big": bytes(range(256)) * 4000}, "gz")
    pin = pin_of(server, content)
    server.cut["/thing-1.0.tar.gz"] = len(content) // 2
    with pytest.raises(UpstreamError) as raised:
        bring_all([pin], tmp_path, print)
    assert f"of {len(content)} bytes" in raised.value.evidence
    assert not (tmp_path / "thing").exists()
    bring_all([pin], tmp_path, print)
    assert server.requests[-1][1] == f"bytes={len(content) // 2}-"
    assert len((tmp_path / "thing/big").read_bytes()) == 256 * 4000


def test_part_longer_than_the_file_starts_over(server: Server, tmp_path: Path) -> None:
    pin = pin_of(server, tar_of(GOOD))
    (tmp_path / ".download").mkdir()
    (tmp_path / ".download/thing-1.0.tar.gz.part").write_bytes(b"x" * 100_000)
    with pytest.raises(UpstreamError):
        bring_all([pin], tmp_path, print)
    bring_all([pin], tmp_path, print)
    assert (tmp_path / "thing/README").exists()


def test_downloaded_file_is_used_again_only_if_right(server: Server, tmp_path: Path) -> None:
    good = tar_of(GOOD)
    pin = pin_of(server, good)
    (tmp_path / ".download").mkdir()
    (tmp_path / ".download/thing-1.0.tar.gz").write_bytes(good[:-7])
    bring_all([pin], tmp_path, print)
    assert len(server.requests) == 1
    (tmp_path / "thing" / upstream.STAMP).unlink()
    bring_all([pin], tmp_path, print)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (tar_of(GOOD)[:60], "is damaged"),
        (b"no archive at all", "is damaged"),
        (tar_of({"../escape": b"x"}), "outside its folder"),
        (tar_of({"/etc/passwd": b"x"}), "outside its folder"),
        (tar_of({"a/x": b"x", "b/y": b"y"}), "more than one top folder"),
    ],
    ids=["cut", "garbage", "parent", "absolute", "two-tops"],
)
def test_bad_archive_leaves_nothing(server: Server, tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(UpstreamError) as raised:
        bring_all([pin_of(server, content)], tmp_path, print)
    assert words in raised.value.message
    assert [path.name for path in tmp_path.iterdir()] == [".download"]


def test_link_out_of_the_folder_is_refused(server: Server, tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        info = tarfile.TarInfo("thing-1.0/link")
        info.type, info.linkname = tarfile.SYMTYPE, "../../outside"
        tar.addfile(info)
    with pytest.raises(UpstreamError, match="symbolic link that leaves"):
        bring_all([pin_of(server, out.getvalue())], tmp_path, print)


def test_full_disk_is_not_called_damage(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(archive._Tree, "file", full)
    with pytest.raises(UpstreamError, match=r"cannot unpack thing-1.0.tar.gz: No space left on device"):
        bring_all([pin_of(server, tar_of(GOOD))], tmp_path, print)
    assert not (tmp_path / "thing").exists()


def test_leftovers_of_a_killed_run_are_removed(server: Server, tmp_path: Path) -> None:
    (tmp_path / ".thing-abc123/tree").mkdir(parents=True)
    (tmp_path / "thing").mkdir()
    (tmp_path / "thing/half").write_text("x")
    bring_all([pin_of(server, tar_of(GOOD))], tmp_path, print)
    assert not (tmp_path / ".thing-abc123").exists()
    assert not (tmp_path / "thing/half").exists()


# ---- Debian: a stand-in for apt-get first in PATH -----------------------------------------------

APT = """#!/bin/sh
echo "$*" >> {log}
case "$*" in
*indextargets*) printf '%s' '{targets}' ;;
*--print-uris*) [ -e {updated} ] || exit 100
    echo "'http://mirror/pool/{offered}' {offered} 3 SHA256:x" ;;
*--download-only*) cp {archive} "$PWD/{offered}" ;;
*update*) {update} touch {updated} ;;
esac
"""


def fake_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, **changes: str) -> Path:
    tools = tmp_path / "bin"
    tools.mkdir()
    log = tmp_path / "apt.log"
    (tmp_path / "orig").write_bytes(content)
    values = {
        "log": str(log),
        "targets": "http://other/ubuntu/ \\nhttp://mirror/debian/ /keys/k.gpg\\n",
        "offered": "thing_1.0.orig.tar.gz",
        "archive": str(tmp_path / "orig"),
        "updated": str(tmp_path / "updated"),
        "update": "",
    } | changes
    values["targets"] = values["targets"].replace("\\n", "\n")
    (tools / "apt-get").write_text(APT.format(**values))
    (tools / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    return log


def debian_pin(content: bytes, *more: Origin) -> Pin:
    sha256 = hashlib.sha256(content).hexdigest()
    origin = Origin("debian", "thing_1.0.orig.tar.gz", sha256, suite="trixie", source="thing")
    return Pin("thing", "1.0", "MIT", (), (origin, *more))


def test_debian_origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = tar_of(GOOD)
    log = fake_apt(tmp_path, monkeypatch, content)
    root = tmp_path / "up"
    bring_all([debian_pin(content)], root, print)
    assert (root / "thing/README").exists()
    sources = (root / ".apt/trixie/sources.list").read_text()
    assert sources == "deb-src [signed-by=/keys/k.gpg] http://mirror/debian/ trixie main\n"
    calls = log.read_text()
    assert calls.count(" update") == 1
    assert f"Dir::State::lists={root}/.apt/trixie/lists" in calls
    assert f"Dir::Etc::sourcelist={root}/.apt/trixie/sources.list" in calls


def test_debian_moved_on_falls_to_upstream(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = tar_of(GOOD)
    fake_apt(tmp_path, monkeypatch, content, offered="thing_1.1.orig.tar.gz")
    said: list[str] = []
    bring_all([debian_pin(content, *pin_of(server, content).origins)], tmp_path / "up", said.append)
    assert (tmp_path / "up/thing/README").exists()
    assert any("trixie has thing_1.1.orig.tar.gz, not thing_1.0.orig.tar.gz" in text for text in said)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"targets": "http://other/ubuntu/ \\n"}, "names no Debian mirror"),
        ({"update": 'echo "E: Failed to fetch InRelease" >&2; exit 100;'}, "Failed to fetch InRelease"),
    ],
    ids=["no-mirror", "unreachable"],
)
def test_debian_not_available(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], words: str
) -> None:
    content = tar_of(GOOD)
    fake_apt(tmp_path, monkeypatch, content, **changes)
    with pytest.raises(UpstreamError) as raised:
        bring_all([debian_pin(content)], tmp_path / "up", print)
    assert words in raised.value.evidence


def test_debian_wrong_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_apt(tmp_path, monkeypatch, b"something else")
    with pytest.raises(HashMismatch):
        bring_all([debian_pin(tar_of(GOOD))], tmp_path / "up", print)


def test_no_apt_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UpstreamError) as raised:
        Fetcher(tmp_path / "up", print).bring(debian_pin(b"x"))
    assert "this machine has no apt-get" in raised.value.evidence


# ---- the list of pins ---------------------------------------------------------------------------


@pytest.mark.parametrize("release", ["", "next"])
def test_the_committed_pins_are_complete(release: str) -> None:
    pins = load_pins(REPO / "port/upstream.toml", release)
    assert [pin.name for pin in pins] == ["micropython", "lwip", "mbedtls", "libffi"]
    for pin in pins:
        assert [origin.kind for origin in pin.origins] == ["debian", "url"]
        assert pin.licence
        assert pin.version in pin.origins[0].file


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no [[upstream]] entry"),
        ("x = ", "Invalid value"),
        ('[[upstream]]\nname = "a/b"', "'a/b' is no folder name"),
        ('[[upstream]]\nname = ""', "upstream[0].name: must be a non-empty string"),
        ('[[upstream]]\nname = "a"\nversion = "1"\nlicence = "MIT"', "upstream[0].origin: no origin"),
        ('[[upstream]]\nname = "a"\n[[upstream.origin]]\nkind = "ftp"', "'ftp' is neither"),
        (
            '[[upstream]]\nname = "a"\n[[upstream.origin]]\nkind = "url"\nurl = "u"\nfile = "f"\nsha256 = "abc"',
            "64 lower-case hexadecimal digits",
        ),
    ],
)
def test_bad_pins(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "upstream.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_pins(path)
    assert words in raised.value.message
    assert str(path) in raised.value.message


PATCH = b"Fault: x\nUpstream: y\nTest: z\n--- a/note\n+++ b/note\n@@ -1 +1 @@\n-old\n+new\n"


def patched(pin: Pin, *contents: bytes) -> Pin:
    patches = tuple(Patch(Path(f"patches/thing/{i}.patch"), content) for i, content in enumerate(contents))
    return replace(pin, patches=patches)


def test_patches_are_applied_and_followed(server: Server, tmp_path: Path) -> None:
    pin = pin_of(server, tar_of({"thing-1.0/note": b"old\n"}))
    note = tmp_path / "thing" / "note"
    again = b"--- a/note\n+++ b/note\n@@ -1 +1 @@\n-new\n+newest\n"
    for wanted, expected in ((patched(pin, PATCH, again), "newest\n"), (patched(pin, PATCH), "new\n"), (pin, "old\n")):
        assert bring_all([wanted], tmp_path, print) == 1
        assert note.read_text() == expected
        assert bring_all([wanted], tmp_path, print) == 0
    assert len(server.requests) == 1  # the archive was kept


def test_patch_that_does_not_fit_leaves_what_was_there(server: Server, tmp_path: Path) -> None:
    pin = pin_of(server, tar_of({"thing-1.0/note": b"other\n"}))
    bring_all([pin], tmp_path, print)
    with pytest.raises(UpstreamError) as caught:
        bring_all([patched(pin, PATCH)], tmp_path, print)
    assert "0.patch does not apply to thing" in caught.value.message
    assert (tmp_path / "thing" / "note").read_text() == "other\n"
    assert not list((tmp_path / "thing").glob("*.rej"))


def test_the_committed_patches_say_why() -> None:
    folder = REPO / "port" / "patches"
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.parent != folder)
    for path in paths:
        head = path.read_text().partition("\n--- ")[0].splitlines()
        assert path.suffix == ".patch", path
        for word in ("Fault: ", "Upstream: ", "Test: "):
            assert any(line.startswith(word) for line in head), f"{path}: no line '{word}'"
    applied = {
        patch.path
        for release in ("", "next")
        for pin in load_pins(REPO / "port/upstream.toml", release)
        for patch in pin.patches
    }
    assert applied == set(paths), "a patch that no release's source gets"
