# SPDX-License-Identifier: MIT
"""What `floe build --oci` makes, under a real engine: Podman as root, and as an ordinary user."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.accelerators import fastest
from tests.support.command import floe
from tests.support.podman import Podman, podman

NAME = "localhost/fr-ont:1.0"
IMAGE = """name = "fr.ont"
version = "1.0"
ports = ["8080:80"]
args = ["by-default"]
[env]
FROM_IMAGE = "yes"
"""
SCRIPT = """import asyncio, floe, os, sys

async def serve():
    async def answer(reader, writer):
        writer.write(b"HTTP/1.0 200 OK\\r\\n\\r\\nhello")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    async with await asyncio.start_server(answer, "0.0.0.0", 80) as server:
        print("serving")
        try:
            await server.wait_closed()
        finally:
            print("bye")

async def idle():
    print("idle")
    await asyncio.sleep(600)

if sys.argv[1] == "serve":
    asyncio.run(serve())
elif sys.argv[1] == "secret":
    print(floe.secret("key"))
elif sys.argv[1] == "idle":
    asyncio.run(idle())
else:
    print(sys.argv[1:], os.getenv("FROM_IMAGE"), os.getenv("GIVEN"), os.getenv("container"))
    sys.exit(7)
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("image")
    (folder / "image.toml").write_text(IMAGE)
    (folder / "main.py").write_text(SCRIPT)
    done = floe("build", str(folder), "-o", str(folder / "app.elf"), "--oci", str(folder / "app.tar"))
    assert done.returncode == 0, done.stderr
    return folder / "app.tar"


@pytest.fixture(scope="module")
def as_root(archive: Path) -> Iterator[Podman]:
    with podman(rootless=False) as found:
        said = found("load", "-i", str(archive)).stdout
        assert f"Loaded image: {NAME}\n" in said
        yield found


def accelerated() -> list[str]:
    return ["--device", "/dev/kvm", "-e", "FLOE_ACCEL=kvm"] if fastest() == "kvm" else []


def wait_for(engine: Podman, name: str, text: str) -> None:
    until = time.monotonic() + 60
    while text not in (said := engine("logs", name).stdout):
        assert time.monotonic() < until, said
        time.sleep(0.2)


def test_emulated(as_root: Podman) -> None:
    done = as_root.run("--rm", "--network=none", NAME)
    assert (done.returncode, done.stdout) == (7, "['by-default'] yes None None\n")
    assert "floe: emulated, more slowly than with KVM: the container has no /dev/kvm\n" in done.stderr


def test_arguments_variables_and_a_secret(as_root: Podman, tmp_path: Path) -> None:
    words = ["--rm", "--network=none", *accelerated()]
    done = as_root.run(*words, "-e", "GIVEN=ä b", "-e", "FROM_IMAGE=no", NAME, "one", "two words", "")
    assert (done.returncode, done.stdout) == (7, "['one', 'two words', ''] no ä b None\n")
    key = tmp_path / "key"
    key.write_bytes(b"\x00secret")
    done = as_root.run(*words, "-v", f"{key}:/run/secrets/key:ro", NAME, "secret")
    assert (done.returncode, done.stdout) == (0, "b'\\x00secret'\n")


def test_a_service(as_root: Podman) -> None:
    """Ports, health, SIGTERM."""
    as_root.run("-d", "--name", "front", "--network=none", *accelerated(), NAME, "serve", check=True)
    wait_for(as_root, "front", "serving")
    pid = as_root("inspect", "front", "--format", "{{.State.Pid}}").stdout.strip()
    inside = ["nsenter", "-t", pid, "-n", "curl", "-s", "-m", "20", "http://127.0.0.1/"]
    assert subprocess.run(inside, capture_output=True, timeout=30, check=True).stdout == b"hello"
    assert as_root("exec", "front", "/floe/healthy").returncode == 0
    as_root("stop", "--time", "9", "front")
    told = json.loads(as_root("inspect", "front").stdout)[0]
    assert told["State"]["ExitCode"] == 0
    assert told["Config"]["StopSignal"] == 15
    assert as_root("logs", "front").stdout == "serving\nbye\n"


def test_nobody_serves(as_root: Podman) -> None:
    as_root.run("-d", "--name", "idle", "--network=none", *accelerated(), NAME, "idle", check=True)
    wait_for(as_root, "idle", "idle")
    asked = as_root("exec", "idle", "/floe/healthy", check=False)
    assert asked.returncode == 1
    assert "floe: nothing is served at port 80\n" in asked.stderr
    as_root("stop", "--time", "9", "idle")
    assert as_root("inspect", "idle", "--format", "{{.State.ExitCode}}").stdout == "0\n"


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as made:
        return int(made.getsockname()[1])


def test_podman_plays_what_is_for_kubernetes(as_root: Podman, archive: Path, free_port: int) -> None:
    """Without capabilities, with a file system that is only read."""
    if shutil.which("catatonit") is None or shutil.which("slirp4netns") is None:
        pytest.skip("SKIP: catatonit and slirp4netns, of which podman makes a pod, are not installed")
    manifest = floe("export", "k8s", archive.parent).stdout
    assert "containerPort: 80" in manifest
    # The container's port is one of the host's then.
    played = manifest.replace(f"image: {NAME}\n", f"image: {NAME}\n        args: [serve]\n")
    played = played.replace("containerPort: 80", f"containerPort: 80\n          hostPort: {free_port}")
    file = as_root.folder / "played.yaml"
    file.write_text(played)
    as_root("kube", "play", "--network", "slirp4netns", str(file))  # else a bridge of the host, which stays
    try:
        wait_for(as_root, "fr-ont-pod-0-fr-ont", "serving")
        url = f"http://127.0.0.1:{free_port}/"
        assert subprocess.run(["curl", "-s", "-m", "20", url], capture_output=True, check=True).stdout == b"hello"
        assert as_root("exec", "fr-ont-pod-0-fr-ont", "/floe/healthy").returncode == 0
    finally:
        as_root("kube", "down", str(file))


def test_rootless(archive: Path) -> None:
    with podman(rootless=True) as user:
        opened = user.folder / "app.tar"
        opened.write_bytes(archive.read_bytes())
        done = user.run("--rm", "--network=none", "-e", "GIVEN=x", f"oci-archive:{opened}")
        assert (done.returncode, done.stdout) == (7, "['by-default'] yes x None\n")
