# SPDX-License-Identifier: MIT
"""Variants of an image, and the certificates that [tls] ca puts into it."""

from __future__ import annotations

from pathlib import Path

import pytest

from floe.build import config, pipeline, romfs
from floe.cli import main as cli
from floe.errors import BuildError
from floe.image import elf

TEXT = """
name = "shop"
memory = "32M"
ports = ["8080:80"]

[env]
A = "1"
B = "2"

[budget]
elf = "500K"

[variant.tls]
main = "secure.py"
ports = ["8443:443"]

[variant.tls.env]
B = "3"

[variant.tls.budget]
elf = "900K"

[variant.big]
name = "megashop"
memory = "64M"
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "image.toml").write_text(TEXT)
    for name in ("main.py", "secure.py"):
        (tmp_path / name).write_text(f"print('{name}')\n")
    return tmp_path


def test_a_variant_is_over_the_image(shop: Path) -> None:
    own, tls, big = (config.load(shop, name) for name in ("", "tls", "big"))
    assert (own.name, tls.name, big.name) == ("shop", "shop-tls", "megashop")
    assert (own.main.name, tls.main.name, big.main.name) == ("main.py", "secure.py", "main.py")
    assert (own.ports, tls.ports) == (("8080:80",), ("8443:443",))
    assert (own.env, tls.env) == ({"A": "1", "B": "2"}, {"A": "1", "B": "3"})
    assert (own.budget_elf, tls.budget_elf, big.budget_elf) == (500 << 10, 900 << 10, 500 << 10)
    assert (own.memory, tls.memory, big.memory) == (32 << 20, 32 << 20, 64 << 20)


def test_a_name_comes_from_the_folder(tmp_path: Path) -> None:
    (tmp_path / "image.toml").write_text("[variant.tls]\nmemory = '64M'\n")
    (tmp_path / "main.py").write_text("")
    assert config.load(tmp_path, "tls").name == f"{tmp_path.name}-tls"


def test_build_takes_either_option(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shop)
    assert cli.run(["build", ".", "--tls"]) == 0
    assert elf.read(Path("shop-tls.elf")).content["main"] == "secure.py"
    assert cli.run(["build", ".", "--variant", "big"]) == 0
    assert elf.read(Path("megashop.elf")).content["main"] == "main.py"
    capfd.readouterr()
    assert cli.run(["run", "shop-tls.elf", "--tls"]) == 125
    assert "shop-tls.elf is built already" in capfd.readouterr().err
    Path("other.py").write_text("")
    assert cli.run(["build", "other.py", "--tls"]) == 125
    assert "--variant tls: other.py has no image.toml" in capfd.readouterr().err


def test_trusted_certificates_are_in_the_image(shop: Path) -> None:
    pem = "-----BEGIN CERTIFICATE-----\n"
    (shop / "ours.pem").write_text(pem)
    (shop / "image.toml").write_text('[tls]\nca = "ours.pem"\n')
    content = pipeline.build(shop).image.content
    assert content["data"] == {"tls/ca.pem": len(pem)}
    (shop / "image.toml").write_text('[tls]\nca = "host"\n')
    if config.HOST_CA.exists():
        assert config.load(shop).ca == config.HOST_CA
    else:
        pytest.skip(f"SKIP: no {config.HOST_CA}")


def test_data_may_not_hide_them(shop: Path) -> None:
    (shop / "data" / "tls").mkdir(parents=True)
    (shop / "ours.pem").write_text("")
    with pytest.raises(BuildError, match="has a `tls` of its own"):
        romfs.make(shop / "data", shop / "ours.pem")
