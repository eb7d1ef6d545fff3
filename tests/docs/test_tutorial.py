# SPDX-License-Identifier: MIT
"""docs/*.md that are meant to be followed: every command in them is run, in order, and shows what the page says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.tutorial import KINDS, Block, Shell, Step, blocks, compare, follow, matches, steps

REPO = Path(__file__).resolve().parents[2]
PAGE = REPO / "docs" / "from-a-board.md"
COMMAND_S = 120.0
MAX_LINES = 350


def test_the_page_is_run(tmp_path: Path, environment: dict[str, str]) -> None:
    folder = tmp_path / "w"
    folder.mkdir()
    with Shell(folder, environment, COMMAND_S) as shell:
        for block in blocks(PAGE.read_text()):
            follow(block, folder, shell)


def test_nothing_on_the_page_is_left_out() -> None:
    text = PAGE.read_text()
    assert len(text.splitlines()) <= MAX_LINES
    wrong = []
    count = 0
    for block in blocks(text):
        if block.kind not in KINDS:
            wrong.append(f"line {block.line}: a block of kind '{block.kind}'")
        elif block.kind == "console":
            count += len(steps(block))
        elif block.kind in ("python", "toml") and not block.file:
            wrong.append(f"line {block.line}: code without the name of its file")
    assert wrong == []
    assert count > 20
    # A command in running text would be tested by nobody: only names of commands stand there.
    for number, line in enumerate(text.splitlines(), 1):
        assert not line.startswith("    $ "), f"line {number}: a command outside of a console block"


# ---- the reader of pages ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "said", "same"),
    [
        (["a"], ["a"], True),
        (["a"], ["a", ""], True),
        (["a"], ["b"], False),
        (["a"], ["a", "b"], False),
        ([], [], True),
        ([], ["a"], False),
        (["a...c"], ["abbbc"], True),
        (["a...c"], ["abbb"], False),
        (["a", "...", "z"], ["a", "b", "c", "z"], True),
        (["a", "...", "z"], ["a", "z"], True),
        (["a", "..."], ["a", "b"], True),
        (["a.c"], ["abc"], False),
    ],
)
def test_matches(shown: list[str], said: list[str], same: bool) -> None:
    assert matches(shown, said) is same


def test_commands_and_their_output(tmp_path: Path, environment: dict[str, str]) -> None:
    block = Block(
        1,
        "console",
        ["$ x=5", "$ cd /; echo $x", "5", "$ cat <<E", "> a", "> E", "a", "$ printf no-newline; pwd", "no-newline/"],
    )
    with Shell(tmp_path, environment, 20) as shell:
        for step in steps(block):
            code, said = shell.run(step)
            compare(step, code, said)
        assert shell.run(Step(1, "echo out; echo err >&2; (exit 3)")) == (3, ["out", "err"])
        assert shell.run(Step(1, "cat")) == (0, [])  # its input is empty
        with pytest.raises(AssertionError, match="exit code 1"):
            compare(Step(7, "false"), 1, [])
        with pytest.raises(AssertionError, match=r"line 7: \$ echo b\n(?s:.*)-a\s+\+b"):
            compare(Step(7, "echo b", [], ["a"]), 0, ["b"])


def test_a_command_that_hangs_is_told(tmp_path: Path, environment: dict[str, str]) -> None:
    with Shell(tmp_path, environment, 0.5) as shell, pytest.raises(TimeoutError, match=r"line 9: .* did not end"):
        shell.run(Step(9, "echo before; tail -f /dev/null"))


@pytest.mark.parametrize("text", ["```console\n$ x\n", "```console\nno command\n```\n"])
def test_a_page_that_is_wrong(text: str) -> None:
    with pytest.raises(ValueError, match=r"line [12]: "):
        [steps(block) for block in blocks(text)]
