# SPDX-License-Identifier: MIT
"""frozen/lib/appliance/metrics.py: numbers as Prometheus reads them."""

from __future__ import annotations

import importlib.util

import pytest

from tests.support.fixtures import REPO

FILE = REPO / "frozen" / "lib" / "appliance" / "metrics.py"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (10**30, "1" + "0" * 30),
        (0.1, "0.1"),
        (-2.5, "-2.5"),
        (float("nan"), "NaN"),
        (float("inf"), "+Inf"),
        (float("-inf"), "-Inf"),
    ],
)
def test_a_number(value: float, text: str) -> None:
    spec = importlib.util.spec_from_file_location("metrics", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    metrics = module.Metrics()
    metrics.gauge("level", "How much.").set(value)
    assert metrics.text().splitlines()[-1] == f"level {text}"
