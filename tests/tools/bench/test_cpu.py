# SPDX-License-Identifier: MIT
"""tools/floe/bench/cpu.py: the loops in their three forms, run for real, and results that must be the same."""

from __future__ import annotations

import ast
import json
import sys
import time

import pytest

from floe.bench import cpu
from floe.bench.cpu import Answers
from floe.bench.experiment import Turn
from floe.errors import VmError

LOOPS = {"arithmetic", "calls", "objects", "containers", "text", "floats"}
ARITHMETIC = sum(range(0, 3 * 1_500_000, 3)) & 0xFFFFF


def turn() -> Turn:
    return Turn(0, True, time.monotonic() + 300)


def decorated(kind: str) -> dict[str, list[str]]:
    """Decorators of each function."""
    tree = ast.parse(cpu.source(kind))
    return {
        node.name: [ast.unparse(one) for one in node.decorator_list]
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
    }


def test_each_form_has_its_decorators() -> None:
    assert {name for name in decorated("") if name in LOOPS} == LOOPS
    assert not any(decorated("").values())
    assert all(decorated("native")[name] == ["micropython.native"] for name in LOOPS)
    assert {name for name, found in decorated("viper").items() if found} == {"arithmetic"}
    assert "LOOPS = (arithmetic,)" in cpu.source("viper")


def test_the_loops_run_in_cpython() -> None:
    answers: Answers = {}
    found = {one.at: one.values["ms"] for one in cpu._as_process([sys.executable, "-I"], "", answers, turn())}
    assert set(found) == LOOPS | {"all loops"}
    assert found.pop("all loops") == pytest.approx(sum(found.values()))
    assert min(found.values()) > 0
    assert answers["arithmetic"] == ARITHMETIC
    assert answers["calls"] == 46368


def test_viper_is_compiled_and_run_in_a_vm() -> None:
    (reading,) = cpu._in_vm(cpu._built("viper"), "tcg", {"arithmetic": ARITHMETIC}, turn())
    assert reading.at == "arithmetic"
    assert reading.values["ms"] > 0


def test_another_result_than_elsewhere_is_an_error() -> None:
    said = "hello\ncpu: " + json.dumps({"calls": [1500, 46368]}) + "\nbye"
    answers: Answers = {}
    assert [(one.at, one.values) for one in cpu.readings(said, answers)] == [("calls", {"ms": 1.5})]
    with pytest.raises(VmError, match="calls came to 46368, and elsewhere to 7"):
        list(cpu.readings(said, {"calls": 7}))


def test_loops_that_print_no_figures_are_an_error() -> None:
    with pytest.raises(VmError, match="printed no figures") as caught:
        list(cpu.readings("Traceback: it broke", {}))
    assert "it broke" in caught.value.evidence
