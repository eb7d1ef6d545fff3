# SPDX-License-Identifier: MIT
"""modules/tls/tls_platform.c: dates of certificates as the C library has them, a clock that was never set, and memory that
ends at half of RAM."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.c.support.harness import BUILD_DEADLINE_S, FLAGS, ROOT

MBEDTLS = ROOT / "build/upstream/mbedtls/include"


def test_dates_the_clock_and_the_bound_of_memory(tmp_path: Path) -> None:
    program = tmp_path / "platform"
    config = '-DMBEDTLS_CONFIG_FILE="modules/tls/mbedtls_config.h"'
    includes = [f"-I{d}" for d in (ROOT, ROOT / "modules/tls", ROOT / "port/hal", MBEDTLS)]
    source = str(Path(__file__).with_name("platform_user.c"))
    argv = [os.environ.get("CC", "gcc"), *FLAGS, "-Wno-unused-parameter", config, *includes, source, "-o", str(program)]
    subprocess.run(argv, check=True, timeout=BUILD_DEADLINE_S)
    done = subprocess.run([program], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
