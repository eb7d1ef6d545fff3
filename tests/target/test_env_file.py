# SPDX-License-Identifier: MIT
"""Variables of --env-file in a guest that has no memory for them, and where the guest itself asks for one."""

from __future__ import annotations

from pathlib import Path

from floe.testing import Boot
from tests.support.certs import Certificates

POOR = """
import os

kept = []
for size in (100000, 10000, 1000):  # what is left of each part of the heap, too
    try:
        while True:
            kept.append(bytearray(size))
    except MemoryError:
        pass
for _ in range(2):
    try:
        print("got", os.getenv("K5"))
    except MemoryError:
        print("no memory")
kept = None
print("got", len(os.getenv("K5")))
"""

TRUSTING = """
import ssl

ssl.create_default_context()
print("trusts")
"""


def test_what_did_not_fit_can_be_asked_for_again(boot: Boot, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("".join(f"K{n}={'v' * 1000}\n" for n in range(60)))
    (tmp_path / "app.py").write_text(POOR)
    vm = boot(tmp_path / "app.py", deadline_s=30, env_files=[tmp_path / "env"])
    assert vm.wait() == 0
    assert vm.console_text.split("\n") == ["no memory", "no memory", "got 1000", ""]


def test_trusted_certificates_named_in_an_env_file(boot: Boot, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("SSL_CERT_FILE=/rom/ours.pem\n")
    (tmp_path / "app/data").mkdir(parents=True)
    (tmp_path / "app/main.py").write_text(TRUSTING)
    (tmp_path / "app/image.toml").write_text('name = "trusting"\n')
    (tmp_path / "app/data/ours.pem").write_text(Certificates(tmp_path).pem("ca").read_text())
    vm = boot(tmp_path / "app", deadline_s=30, env_files=[tmp_path / "env"])
    assert vm.wait() == 0
    assert vm.console_text == "trusts\n"


LISTING = """
import os

names = ("A", "B", "FROM")
print(sorted(item for item in os.environ.items() if item[0] in names), len(dict(os.environ)), "A" in os.environ)
os.environ["A"] = "mine"
print(os.getenv("A"), os.environ.get("C"))
"""


def test_the_environment_is_listed(boot: Boot, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("FROM=the file\n")
    (tmp_path / "app.py").write_text(LISTING)
    vm = boot(tmp_path / "app.py", deadline_s=30, env={"A": "1", "B": "two words"}, env_files=[tmp_path / "env"])
    assert vm.wait() == 0
    assert vm.console_text == "[('A', '1'), ('B', 'two words'), ('FROM', 'the file')] 3 True\nmine None\n"
