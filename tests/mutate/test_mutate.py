# SPDX-License-Identifier: MIT
"""`make mutate` itself: which changes it makes, in what order, and that it forgets nothing that the list of survivors says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutate import __main__ as mutate
from tests.mutate import objectcache, survivors
from tests.mutate.operators import mutants
from tests.mutate.trials import FOLDERS, trials
from tests.mutate.workcopy import MAKE, WorkCopy, first_failed

REPO = Path(__file__).resolve().parents[2]
C = """#include <stdio.h>
#define ROOM 0x10 // of 7
static int f(int n) {
    int k = 0;
    if (n > 3) {
        g(n); // "x < 4"
        k += n & 7;
    }
    return n < k && k ? -EIO : 0;
}
"""
ASSEMBLY = """    .section .text
here:
    cmpl $7, %eax // $9
    jae 1f
1:  movq 8(%rsp), %rax
    .quad 1 << 12
"""
PYTHON = '''"""A text: 1 < 2."""
def f(n):
    """Text."""
    if n < 3 and n:
        raise ValueError(f"{n} < 4")
    n += 1
    return n
'''


def changes(file: str, source: str) -> set[tuple[int, str]]:
    return {(m.line, m.after) for m in mutants(file, source)}


def test_what_changes_in_c() -> None:
    found = changes("a.c", C)
    assert {
        (2, "#define ROOM 0x11 // of 7"),
        (4, "int k = 1;"),
        (5, "if (n >= 3) {"),
        (5, "if (n > 4) {"),
        (5, "if (!(n > 3)) {"),
        (6, '// "x < 4"'),
        (7, "k -= n & 7;"),
        (7, "k += n;"),
        (7, "k += n & 8;"),
        (7, ""),
        (9, "return n <= k && k ? -EIO : 0;"),
        (9, "return n < k || k ? -EIO : 0;"),
        (9, "return n < k && k ? 0 : 0;"),
        (9, "return n < k && k ? -EIO : 1;"),
    } == found


def test_what_changes_in_assembly() -> None:
    assert changes("a.S", ASSEMBLY) == {
        (3, "// $9"),
        (3, "cmpl $8, %eax // $9"),
        (4, ""),
        (4, "ja 1f"),
        (5, "1:"),
        (5, "1:  movq 9(%rsp), %rax"),
        (6, ".quad 2 << 12"),
        (6, ".quad 1 << 13"),
    }


def test_what_changes_in_python() -> None:
    assert changes("a.py", PYTHON) == {
        (4, "if n <= 3 and n:"),
        (4, "if n < 4 and n:"),
        (4, "if n < 3 or n:"),
        (4, "if not (n < 3 and n):"),
        (5, "pass"),
        (6, "n -= 1"),
        (6, "n += 2"),
        (6, "pass"),
    }


def test_a_mutant_differs_in_its_line_alone() -> None:
    for m in mutants("a.c", C):
        differ = [n for n, (a, b) in enumerate(zip(C.split("\n"), m.text.split("\n"), strict=True), 1) if a != b]
        assert differ == [m.line]


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_file_has_mutants_and_tests(folder: str) -> None:
    files = mutate.sources(folder)
    assert files
    assert [file for file in files if not trials(REPO, file)] == []
    assert len(mutate.choose(folder, 60, 1, "")) == 60


def test_a_seed_means_the_same_mutants() -> None:
    one, again, other = (mutate.choose("modules/xen", 20, seed, "") for seed in (1, 1, 2))
    assert one == again != other
    assert one == sorted(one)


def test_survivors_are_mutants_of_today() -> None:
    """An entry whose line has changed, or is no longer there, would excuse nothing, or another line."""
    known = survivors.load()
    for entry in known:
        made = mutants(entry.file, (REPO / entry.file).read_text())
        found = [m for m in made if entry.is_of(m)]
        assert len(found) == 1, f"{entry.file}: {len(found)} such mutants: {entry.after or entry.before}"
    assert len({(s.file, s.before, s.after, s.above) for s in known}) == len(known)


@pytest.mark.parametrize("line", ['kind = "odd"', 'reason = " "', 'more = ""'])
def test_a_survivor_that_is_not_whole_is_refused(tmp_path: Path, line: str) -> None:
    entry = {"file": '"a.c"', "before": '"a"', "after": '"b"', "kind": '"open"', "reason": '"none yet"'}
    key, value = line.split(" = ")
    entry[key] = value
    path = tmp_path / "survivors.toml"
    path.write_text("[[survivor]]\n" + "".join(f"{key} = {value}\n" for key, value in entry.items()))
    with pytest.raises(ValueError, match="survivor 1 needs"):
        survivors.load(path)


def test_the_share_is_of_those_that_can_be_noticed() -> None:
    fates = ["killed"] * 5 + ["late", "equal", "open", "survived", "uncompiled"]
    results = [mutate.Result("modules/xen/a.c", 1, "sum", "a", "b", fate, "", 1.0) for fate in fates]
    assert [row.split()[-2] for row in mutate.table(results)[1:]] == ["75.0", "75.0"]


def test_a_compiler_that_remembers(tmp_path: Path) -> None:
    """Two sources and a link; the second time nothing is compiled, and another text is not mistaken for the first."""
    (tmp_path / "a.c").write_text("int f(void);\nint main(void) { return f(); }\n")
    (tmp_path / "b.c").write_text("int f(void) { return 3; }\n")
    program, kept = tmp_path / "program", tmp_path / "objects"
    argv = [sys.executable, objectcache.__file__, str(kept), "-Wall", "-Werror", "a.c", "b.c", "-o", str(program)]

    def made() -> tuple[int, int]:
        code = subprocess.run(argv, cwd=tmp_path, capture_output=True, timeout=60, check=False).returncode
        return code, subprocess.run([program], timeout=60, check=False).returncode

    assert made() == (0, 3)
    first = sorted(kept.iterdir())
    assert made() == (0, 3) and sorted(kept.iterdir()) == first and len(first) == 5
    (tmp_path / "b.c").write_text("int f(void) { return 4; }\n")
    assert made() == (0, 4)
    (tmp_path / "b.h").write_text("enum { B = 5 };\n")
    (tmp_path / "b.c").write_text('#include "b.h"\nint f(void) { return B; }\n')
    assert made() == (0, 5)
    (tmp_path / "b.h").write_text("enum { B = 6 };\n")
    assert made() == (0, 6)
    (tmp_path / "g.S").write_text(".globl g\ng: movl $7, %eax\n ret\n.section .note.GNU-stack\n")
    (tmp_path / "b.c").write_text("int g(void);\nint f(void) { return g(); }\n")
    argv[-2:-2] = ["g.S"]
    assert made() == (0, 7)
    (tmp_path / "g.S").write_text((tmp_path / "g.S").read_text().replace("7", "8"))
    assert made() == (0, 8)
    (tmp_path / "b.c").write_text("int f(void) { int unused; return 4; }\n")
    assert made()[0] != 0


def test_a_line_of_a_log_is_no_test() -> None:
    log = "ERROR    asyncio:base_events.py:1771 Task was destroyed but it is pending!\n"
    summary = "FAILED tests/c/test_a.py::test_b[one - two] - AssertionError: 1 - 2\nERROR tests/c/test_c.py::test_d\n"
    assert first_failed(log + summary) == "tests/c/test_a.py::test_b[one - two]"
    assert first_failed(log) == ""
    assert first_failed("ERROR tests/c/test_c.py::test_d\n") == "tests/c/test_c.py::test_d"


def test_the_copy_is_set_right_again(tmp_path: Path) -> None:
    """What an interrupted run left changed, or too much, is as in the tree when the next one begins."""
    top = tmp_path / "tree"
    (top / "tests").mkdir(parents=True)
    (top / "tests/a.py").write_text("one = 1\n")
    subprocess.run(["git", "init", "-q", str(top)], check=True, timeout=60)
    for _ in range(2):
        copy = WorkCopy(top)
        assert (copy.path / "tests/a.py").read_text() == "one = 1\n"
        assert not (copy.path / "tests/b.py").exists()
        with pytest.raises(BlockingIOError):
            WorkCopy(top)
        copy.write("tests/a.py", "one = 2\n")
        (copy.path / "tests/b.py").write_text("")
        copy.close()
    assert (top / "tests/a.py").read_text() == "one = 1\n"


def test_the_port_of_a_copy_makes_no_tool_in_the_tree(tmp_path: Path) -> None:
    """build/upstream is the tree's there, and mpy-cross would be made beside it, however new port.mk is. BUILD: port.mk
    empties that folder while it is read, also where nothing is to be made, if it was made from something else."""
    old = ("-o", "build/mpy-cross")
    assert MAKE[2:4] == old
    for argv, made in ((MAKE, False), ((*MAKE[:2], *MAKE[4:]), True)):
        asked = [*argv, f"BUILD={tmp_path}/port", "-n", "-W", "port/port.mk", "build/mpy-cross"]
        done = subprocess.run(asked, cwd=REPO, capture_output=True, text=True, timeout=120, check=True)
        assert ("mpy-cross.d" in done.stdout) == made, done.stdout
