# SPDX-License-Identifier: MIT
"""`floe export`: what it says, and that the engines' own readers take it where they are installed."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from floe.cli import main
from tests.support.command import floe

Exported = Callable[..., str]

IMAGE = """name = "Front.End"
version = "2.0"
memory = "48M"
ports = ["22:22", "5353:53/udp"]
secrets = ["cert"]
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("app")
    (folder / "image.toml").write_text(IMAGE)
    (folder / "main.py").write_text("import socket\n")
    (folder / "cert").write_text("secret")
    return folder


@pytest.fixture
def exported(capsys: pytest.CaptureFixture[str]) -> Exported:
    def run(*words: str | Path) -> str:
        code = main.run(["export", *map(str, words)])
        said = capsys.readouterr()
        assert code == 0
        assert said.err == "" or (words[0] in ("nomad", "libvirt") and said.err.startswith("floe: note: "))
        return said.out

    return run


def test_kubernetes(exported: Exported, app: Path) -> None:
    deployment, service = yaml.safe_load_all(exported("k8s", app))
    assert (deployment["kind"], service["kind"]) == ("Deployment", "Service")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == "localhost/front-end:2.0"
    assert container["ports"] == [
        {"containerPort": 22, "protocol": "TCP"},
        {"containerPort": 53, "protocol": "UDP"},
    ]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}
    assert container["resources"]["limits"] == {"memory": "176Mi"}
    assert container["livenessProbe"]["exec"]["command"] == ["/floe/healthy"]
    assert pod["volumes"] == [{"name": "secrets", "secret": {"secretName": "front-end"}}]
    assert service["spec"]["selector"] == deployment["spec"]["template"]["metadata"]["labels"]
    assert [port["name"] for port in service["spec"]["ports"]] == ["tcp-22", "udp-53"]


def test_kubernetes_with_kvm(exported: Exported, app: Path) -> None:
    deployment, _ = yaml.safe_load_all(exported("k8s", app, "--kvm", "--image", "registry.example/a:1"))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert (container["image"], container["securityContext"]) == ("registry.example/a:1", {"privileged": True})
    assert {"name": "kvm", "mountPath": "/dev/kvm"} in container["volumeMounts"]


def test_compose(exported: Exported, app: Path, tmp_path: Path) -> None:
    text = exported("compose", app, "--kvm")
    told = yaml.safe_load(text)
    service = told["services"]["front-end"]
    assert service["ports"] == ["22:22", "5353:53/udp"], "a string, which YAML 1.1 would take for a number"
    assert service["devices"] == ["/dev/kvm"]
    assert told["secrets"] == {"cert": {"file": "./cert"}}
    if shutil.which("docker-compose") is None:
        pytest.skip("SKIP: docker-compose, which reads it, is not installed")
    file = app / "compose.yaml"
    file.write_text(text)
    argv = ["docker-compose", "-f", str(file), "config"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_nomad(exported: Exported, app: Path) -> None:
    text = exported("nomad", app, "--kvm")
    assert text.count("{") == text.count("}")
    assert 'image = "localhost/front-end:2.0"' in text
    assert 'ports = ["tcp-22", "udp-53"]' in text
    assert 'port "udp-53" {\n        to = 53\n' in text
    assert 'host_path = "/dev/kvm"' in text


def test_secrets_that_are_not_brought_are_told(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["export", "nomad", str(app)]) == 0
    assert capsys.readouterr().err == "floe: note: nothing here brings the secrets cert\n"


def test_libvirt(exported: Exported, app: Path, tmp_path: Path) -> None:
    image = tmp_path / "a & b.elf"
    assert floe("build", app, "-o", image).returncode == 0
    for words in ([], ["--emulated"]):
        file = tmp_path / "domain.xml"
        file.write_text(exported("libvirt", image, *words))
        assert '<memory unit="KiB">49152</memory>' in file.read_text()
        assert f"<kernel>{tmp_path}/a &amp; b.elf</kernel>" in file.read_text()
        if shutil.which("virt-xml-validate") is None or shutil.which("xmllint") is None:
            pytest.skip("SKIP: virt-xml-validate, which reads it, is not installed")
        argv = ["virt-xml-validate", str(file), "domain"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_systemd_is_floe_service(exported: Exported, app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(app), "--secret", f"cert={app / 'cert'}"]
    unit = exported("systemd", *words)
    assert "ExecStart=" in unit
    assert main.run(["service", *words]) == 0
    assert capsys.readouterr().out == unit


def test_an_elf_has_no_ports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.elf").touch()
    assert main.run(["export", "k8s", str(tmp_path / "x.elf")]) == 125
    said = capsys.readouterr().err
    assert "x.elf is an ELF, which does not tell its ports\n  try: floe export k8s APP\n" in said
    assert main.run(["export", "compose", str(tmp_path / "none.py")]) == 127
    assert "no such file" in capsys.readouterr().err


def test_what_the_image_says_is_quoted(exported: Exported, tmp_path: Path) -> None:
    """image.toml is somebody's: no word of it becomes another key."""
    file = tmp_path / "main.py"
    file.write_text("print(1)\n")
    ref: Any = 'x"}\n  privileged: true #'
    deployment = yaml.safe_load(exported("k8s", file, "--image", ref))
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == ref
    assert f"image = {json.dumps(ref)}\n" in exported("nomad", file, "--image", ref)
