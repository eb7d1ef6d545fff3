# SPDX-License-Identifier: MIT
"""Which secrets a child can read."""

from __future__ import annotations

from pathlib import Path

import pytest

from floe.errors import UsageError
from floe.testing import Boot

GUEST = Path(__file__).resolve().parent / "guests" / "guest_fork_secrets.py"


@pytest.mark.parametrize("allowed", [(), ("shared",)], ids=["none", "one"])
def test_a_child_reads_the_secrets_that_are_meant_for_it(boot: Boot, tmp_path: Path, allowed: tuple[str, ...]) -> None:
    secrets = {"also": tmp_path / "a", "own": tmp_path / "o", "shared": tmp_path / "s"}
    for name, file in secrets.items():
        file.write_text(f"{name} content")
    (env := tmp_path / "env").write_text("COLOUR=blue\n")
    vm = boot(GUEST, deadline_s=60, secrets=secrets, child_secrets=allowed, env_files=[env])
    assert vm.wait() == 0
    everything = [(name, f"{name} content".encode()) for name in secrets]
    told = [pair for pair in everything if pair[0] in allowed]
    missing = "no secret 'own': floe run --secret own=FILE"
    assert vm.console_text.count(f"first {everything} blue \n") == 2
    for who in ("child", "grandchild", "later"):
        assert f"] {who} {told} blue {missing}\n" in vm.console_text


@pytest.mark.parametrize(
    ("script", "why"),
    [("import vm, floe\n", "no such secret"), ("import floe\n", "does not fork")],
    ids=["missing", "no children"],
)
def test_a_secret_that_no_child_can_have(boot: Boot, tmp_path: Path, script: str, why: str) -> None:
    app = tmp_path / "app.py"
    app.write_text(script)
    with pytest.raises(UsageError, match=f"--child-secret x: .*{why}"):
        boot(app, deadline_s=60, child_secrets=["x"])
