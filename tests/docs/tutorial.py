# SPDX-License-Identifier: MIT
"""A Markdown page run as it is read: files written, commands given to one shell, output compared.

    ```python            a code block whose first line is `# NAME`, or `# NAME (...)`: the file NAME is written
    ```xml               the same with `<!-- NAME -->`
    ```console           `$ COMMAND` is run (`> ` goes on with it); the lines below it are its output, in which `...`
                         stands for anything, and a line `...` alone for any lines. Standard error is output too.
                         Below a command that reads a terminal, `>>> LINE` is typed at the guest's prompt.

A command must end with 0: what ends otherwise says so (`; echo "exit code $?"`). Blocks of other kinds are not allowed
in a page that is run, but `text` and `toml` (written as `python` is): nothing on it is left untested.
"""

from __future__ import annotations

import difflib
import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

KINDS = {"console", "python", "toml", "xml", "text"}
_PROMPT = ">>> "
_LEAVE = b"\x1d"  # Ctrl-]
_SILENCE_S = 2.0


@dataclass
class Step:
    """One command, what is typed into it, and the output that the page shows."""

    line: int
    command: str = ""
    typed: list[str] = field(default_factory=list)
    output: list[str] = field(default_factory=list)


@dataclass
class Block:
    line: int  # of its first line of content
    kind: str
    lines: list[str]

    @property
    def file(self) -> str:
        """The file that a block of code is, "" for none."""
        name = r"(?:#|<!--) ([\w./-]+\.(?:py|toml|md|xml))\b"
        match = re.match(name, self.lines[0]) if self.lines else None
        return match[1] if match else ""


def blocks(text: str) -> list[Block]:
    """All fenced blocks of a page. Raises ValueError for one that is not closed."""
    found: list[Block] = []
    opened: Block | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            if opened is None:
                opened = Block(number + 1, line[3:].strip(), [])
            else:
                found.append(opened)
                opened = None
        elif opened is not None:
            opened.lines.append(line)
    if opened is not None:
        raise ValueError(f"line {opened.line}: this block is never closed")
    return found


def steps(block: Block) -> list[Step]:
    """The commands of a console block. Raises ValueError for output without a command."""
    found: list[Step] = []
    for number, line in enumerate(block.lines, block.line):
        if line.startswith("$ "):
            found.append(Step(number, line[2:]))
        elif not found:
            raise ValueError(f"line {number}: output before the first command")
        elif line.startswith("> ") and not found[-1].output:
            found[-1].command += "\n" + line[2:]
        else:
            if line.startswith(_PROMPT):
                found[-1].typed.append(line[len(_PROMPT) :])
            found[-1].output.append(line)
    return found


def matches(shown: list[str], said: list[str]) -> bool:
    """Whether output is what the page shows, `...` taken for anything."""
    if shown and shown[-1] != "...":
        while said and not said[-1].strip():
            said = said[:-1]
    parts = []
    for line in shown:
        if line.strip() == "...":
            parts.append(r"(?:.*\n)*")
        else:
            parts.append(".*".join(re.escape(piece) for piece in line.rstrip().split("...")) + r"[ \t\r]*\n")
    return re.fullmatch("".join(parts), "".join(f"{line}\n" for line in said)) is not None


class Shell:
    """bash in a folder, its output read command by command. Leaving the block ends it."""

    def __init__(self, folder: Path, environment: dict[str, str], timeout_s: float, inside: Sequence[str] = ()) -> None:
        """`inside`: words of a command that runs the shell, as `unshare --net`."""
        self._timeout_s = timeout_s
        self._environment = environment
        self._process = subprocess.Popen(
            [*inside, "bash", "--noprofile", "--norc"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        os.killpg(self._process.pid, signal.SIGKILL)  # what detached itself has a group of its own
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()

    def run(self, step: Step) -> tuple[int, list[str]]:
        """Exit code and output of a command. Raises TimeoutError."""
        return self._converse(step) if step.typed else self._command(step)

    def _command(self, step: Step) -> tuple[int, list[str]]:
        assert self._process.stdin is not None and self._process.stdout is not None
        mark = f"end-of-{os.urandom(8).hex()}"
        # Standard input of the command is empty: it would else read the commands behind it.
        text = f"{{ {step.command}\n}} </dev/null; _s=$?; echo; echo {mark} $_s\n"
        self._process.stdin.write(text.encode())
        self._process.stdin.flush()
        said = self._read_until(self._process.stdout.fileno(), mark.encode() + b" ", step)
        rest = self._read_until(self._process.stdout.fileno(), b"\n", step)
        lines = said.decode(errors="replace").replace("\r\n", "\n").split("\n")[:-1]
        return int(rest), lines[:-1] if lines and not lines[-1] else lines

    def _read_until(self, fd: int, mark: bytes, step: Step) -> bytes:
        """What comes before `mark`."""
        deadline = time.monotonic() + self._timeout_s
        data = b""
        while not data.endswith(mark):
            ready, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
            part = os.read(fd, 1) if ready else b""
            if not part:
                why = "ended the shell" if ready else f"did not end within {self._timeout_s} s"
                raise TimeoutError(f"line {step.line}: {step.command} {why}:\n{data.decode(errors='replace')}")
            data += part
        return data[: -len(mark)]

    def _first_prompt(self, master: int, step: Step) -> None:
        """Press Enter until there is a prompt: what is typed before the command reads its terminal may be lost.

        Greetings differ; what the page shows starts with the first line typed."""
        for _ in range(int(self._timeout_s / _SILENCE_S)):
            os.write(master, b"\r")
            data = b""
            while select.select([master], [], [], _SILENCE_S)[0]:
                data += os.read(master, 4096)
                if data.endswith(_PROMPT.encode()):
                    return
        raise TimeoutError(f"line {step.line}: {step.command} showed no prompt:\n{data.decode(errors='replace')}")

    def _converse(self, step: Step) -> tuple[int, list[str]]:
        """As run() on a terminal of its own; what is typed goes in at each prompt, then Ctrl-]."""
        master, slave = pty.openpty()
        where = os.readlink(f"/proc/{self._process.pid}/cwd")
        try:
            command = subprocess.Popen(
                ["bash", "-c", step.command],
                cwd=where,
                env=self._environment,
                stdin=slave,
                stdout=slave,
                stderr=slave,
                start_new_session=True,
            )
            os.close(slave)
            self._first_prompt(master, step)
            text = b""
            for line in step.typed:
                os.write(master, line.encode() + b"\r")
                text += _PROMPT.encode() + self._read_until(master, _PROMPT.encode(), step)
            os.write(master, _LEAVE)
            code = command.wait(self._timeout_s)
        finally:
            os.close(master)
        return code, text.decode(errors="replace").replace("\r\n", "\n").split("\n")


def follow(block: Block, folder: Path, shell: Shell) -> None:
    """Do what a block says. Raises AssertionError where that is not what it shows, TimeoutError."""
    if block.file:
        (folder / block.file).parent.mkdir(parents=True, exist_ok=True)
        (folder / block.file).write_text("\n".join(block.lines) + "\n")
    elif block.kind == "console":
        for step in steps(block):
            code, said = shell.run(step)
            compare(step, code, said)


def compare(step: Step, code: int, said: list[str]) -> None:
    """Raises AssertionError."""
    place = f"line {step.line}: $ {step.command}"
    assert code == 0, f"{place}\nexit code {code}\n" + "\n".join(said)
    assert matches(step.output, said), f"{place}\n" + "\n".join(
        difflib.unified_diff(step.output, said, "shown", "said", lineterm="")
    )
