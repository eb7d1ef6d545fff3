# SPDX-License-Identifier: MIT
"""tools/floe/serve/starts.py: what is not started."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from floe import hostmemory
from floe.serve.starts import Refused, Starts
from floe.spec.runoptions import RunOptions
from floe.vm.plan import plan

GUEST = Path(__file__).resolve().parent / "guest_serve.py"


def test_a_host_without_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user is told once, as of each start that fails."""

    async def main() -> None:
        said: list[str] = []
        spec, _ = plan(GUEST, RunOptions(accel="tcg", memory="16M", forwards=("0:80",)))
        starts = Starts(spec, asyncio.get_running_loop(), said.append)
        monkeypatch.setattr(hostmemory, "left", lambda: 32 << 20)
        assert not starts.has_room()
        for _ in range(2):
            with pytest.raises(Refused):
                starts.start("app-1", "")
        assert said == ["app-1 cannot be started: this machine has no memory left for it"]

    asyncio.run(main())
