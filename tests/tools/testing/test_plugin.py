# SPDX-License-Identifier: MIT
"""floe.testing as a user has it: projects of a few lines, run by a pytest of their own."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from floe.build import pipeline
from floe.cli import main as cli
from tests.support import tiny

pytest_plugins = ["pytester"]


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A folder with an app that says a word and then has a REPL if it is a dev image."""
    pytester.makepyfile(app="import sys\nprint('hello', *sys.argv[1:])\nsys.exit(3) if 'leave' in sys.argv else None\n")
    return pytester


def run(project: pytest.Pytester, test: str, *options: str) -> pytest.RunResult:
    project.makepyfile(test_app="import pytest\nfrom floe.testing import *\n" + textwrap.dedent(test))
    return project.runpytest_subprocess("-p", "floe.testing", "--floe-accel=tcg", *options, timeout=60)


def test_a_test_that_passes(project: pytest.Pytester) -> None:
    result = run(
        project,
        """
        def test_it(boot: Boot) -> None:
            vm = boot("app.py", args=["world", "leave"])
            vm.expect_exact("hello world")
            assert vm.expect_exact(["more", EOF]) == 1
            assert vm.wait() == 3
        """,
    )
    result.assert_outcomes(passed=1)
    assert "VM 0" not in result.stdout.str()


def test_a_failure_tells_what_the_vms_said(project: pytest.Pytester) -> None:
    result = run(
        project,
        """
        def test_it(boot):
            one, two = (boot("app.py", dev=True, args=[name]) for name in ("one", "two"))
            assert two.eval("1 + 1") == 2
            one.expect_exact("hello two", timeout=1)
        """,
    )
    result.assert_outcomes(failed=1)
    # In this order: the assertion, each VM by number and state, its console, what was run in it.
    result.stdout.fnmatch_lines(
        [
            "*TIMEOUT: Timeout exceeded.*",
            "*- VM 0 -*",
            "*image.elf (tcg, microvm, * MiB): running",
            "-- console",
            "hello one*",
        ]
    )
    result.stdout.fnmatch_lines(["*- VM 1 -*", "hello two*", "-- exec", ">>> print(repr((", "2"])


def test_a_failure_after_the_test_tells_it_too(project: pytest.Pytester) -> None:
    result = run(
        project,
        """
        @pytest.fixture
        def vm(boot):
            vm = boot("app.py", args=["leave"])
            yield vm
            assert vm.wait() == 0
        def test_it(vm):
            pass
        """,
    )
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*assert 3 == 0*", "*- VM 0 -*", "*: exit, exit code 3", "hello leave*"])


@pytest.mark.parametrize("end", ["pass", "1 / 0", "raise KeyboardInterrupt"])
def test_no_vm_outlives_its_test(project: pytest.Pytester, end: str) -> None:
    run(
        project,
        f"""
        from pathlib import Path
        def test_it(boot):
            vm = boot("app.py", dev=True, capture=True, net=boot.lan("10.9.0.1/24"))
            vm.expect("hello")
            Path("left").write_text(f"{{vm.pid}} {{vm.argv}}")
            {end}
        """,
    )
    pid, _, argv = (project.path / "left").read_text().partition(" ")
    assert not Path(f"/proc/{pid}").exists()
    wire = re.search(r"addr.path=([^,']+)", argv)
    assert wire and not Path(wire[1]).parent.exists()


def test_a_vm_for_a_whole_module(project: pytest.Pytester) -> None:
    result = run(
        project,
        """
        @pytest.fixture(scope="module")
        def vm():
            with Boot(accel="tcg") as boot:
                yield boot("app.py", dev=True)
        def test_first(vm):
            vm.exec("x = 5")
        def test_second(vm):
            assert vm.eval("x") == 5
            assert vm.eval("x + 1") == 5
        """,
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*assert 6 == 5*", "*- VM 0 -*"])


WRONG = [
    ('boot("nothing.py")', "floe: no app nothing.py", "looked for: *nothing.py"),
    ('boot("app.py", port=[80])', "floe: boot(port=...): no such option", "try: one of dev, deadline_s, *ports,*"),
    ('boot("app.py", ports="80")', "floe: boot(ports='80'): a list is wanted", "try: ports=['80']"),
    ('boot("app.py", ports=["x"])', "floe: -p 0:x: not a port forward", "*"),
    ('boot("app.py", ports=[80])', "floe: -p *:80: app has no network*", "*"),
    ('boot("app.py", memory="big")', "floe: --memory big: not a size", "try: --memory 32M"),
    ('boot("app.py", machine="toaster")', "floe: --machine toaster: no such machine", "try: one of microvm, q35, pc, q35-iommu"),
    ('boot("app.py", capture=True)', "floe: no network card whose packets could go to *vm0.pcap", "*"),
    ('boot("net.py", capture="no/x.pcap")', "floe: packets cannot be written to *no/x.pcap: its folder does not exist", "*"),
    ('boot("app.py").exec("1")', "floe: app is a sealed image: it has no REPL", "try: boot(APP, dev=True)"),
    ('boot("app.py", dev=True).eval("print")', "floe: the value of print has no literal: <function>", "*"),
    ('boot("app.py", dev=True).exec("\\x04")', "floe: the code holds the control character '\\x04'*", "*"),
    ('boot("app.py", dev=True).exec("while 1: pass", deadline_s=3)', "floe: the code did not end within 3 s", "*KeyboardInterrupt:*"),
    ('boot("net.py", dev=True, args=["busy"]).exec("1", deadline_s=1)', "floe: no REPL answered within 1 s", "*vm.interrupt() *"),
    ('boot("app.py", dev=True).exec("import machine; machine.reset()")', "floe: the VM was started again while code was running", "*"),
]  # fmt: skip


def test_what_is_wrong_is_said(project: pytest.Pytester) -> None:
    """One run for all: the sections of a failure hold the message and the next step."""
    project.makepyfile(net="import network, sys\nwhile 'busy' in sys.argv: pass\n")
    tests = "".join(f"def test_{n}(boot):\n    {call}\n" for n, (call, _, _) in enumerate(WRONG))
    project.makepyfile(test_app=tests)
    result = project.runpytest_subprocess("-p", "floe.testing", "--floe-accel=tcg", timeout=120)
    result.assert_outcomes(failed=len(WRONG))
    for _, message, then in WRONG:
        result.stdout.fnmatch_lines(["*- floe -*", message.replace("[", "[[]"), f"  {then}".replace("[", "[[]")])


def test_an_exception_in_the_guest(project: pytest.Pytester) -> None:
    result = run(
        project,
        """
        def test_it(boot):
            vm = boot("app.py", dev=True)
            with pytest.raises(GuestError, match="^ZeroDivisionError: divide by zero$") as caught:
                vm.exec("print('before')\\n1 / 0")
            assert caught.value.output == "before\\n"
            assert 'File "<stdin>", line 2' in caught.value.traceback
            assert vm.exec("print('after')") == "after\\n"
            vm.exec("import nothing")
        """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*- floe -*", "floe: ImportError: no module named 'nothing'", "  Traceback *"])


def test_without_qemu(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    elf = tiny.build(project.path, tiny.HANG)
    (project.path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(project.path / "bin"))
    monkeypatch.delenv("FLOE_QEMU", raising=False)
    result = run(project, f"def test_it(boot):\n    boot({str(elf)!r})\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["floe: qemu-system-x86_64 is not installed", "  try: sudo apt-get install qemu-system-x86"]
    )


def test_accelerators(project: pytest.Pytester) -> None:
    test = "def test_it(boot, floe_accel):\n    assert boot.accel == floe_accel == 'tcg'\n"
    run(project, test).assert_outcomes(passed=1)
    both = run(project, "def test_it(boot):\n    boot('app.py').wait()\n", "--floe-accel=both", "-v")
    both.stdout.fnmatch_lines(["*test_it[[]kvm]*", "*test_it[[]tcg] PASSED*"])
    (project.path / "pytest.ini").write_text("[pytest]\nfloe_accel = warp\n")
    wrong = project.runpytest_subprocess("-p", "floe.testing", timeout=60)
    assert wrong.ret == pytest.ExitCode.USAGE_ERROR
    wrong.stderr.fnmatch_lines(["ERROR: floe_accel = warp: one of auto, kvm, tcg, both"])


def test_kvm_by_name_without_kvm(project: pytest.Pytester) -> None:
    project.makeconftest("from floe.qemu import accel\naccel.KVM_DEVICE = accel.Path('/nothing/kvm')\n")
    test = "def test_it(boot):\n    pass\n"
    by_name = run(project, test, "--floe-accel=kvm")
    by_name.assert_outcomes(errors=1)
    by_name.stdout.fnmatch_lines(["floe: KVM is not available: /nothing/kvm: *", "*or without: --accel tcg"])
    both = run(project, test, "--floe-accel=both", "-rs")
    both.assert_outcomes(passed=1, skipped=1)
    both.stdout.fnmatch_lines(["SKIPPED * SKIP: KVM is not available: *"])
    run(project, test, "--floe-accel=auto").assert_outcomes(passed=1)


def test_apps_by_name(project: pytest.Pytester) -> None:
    folder = project.mkdir("apps") / "front"
    folder.mkdir()
    (folder / "main.py").write_text("import os, network, sys\nprint(os.getenv('WHO'), sys.argv[1:])\n")
    (folder / "image.toml").write_text(
        'name = "front"\nversion = "1"\nmemory = "8M"\nports = ["8080:80"]\nargs = ["a"]\n[env]\nWHO = "me"\n'
    )
    (project.path / "pytest.ini").write_text("[pytest]\nfloe_apps = apps\n")
    result = run(
        project,
        """
        def test_it(boot):
            first, second = boot("front"), boot("front", env={"WHO": "you"}, args=["b"], ports=[81], memory="16M")
            assert first.spec.memory, second.spec.memory == (8 << 20, 16 << 20)
            assert first.ports[80] != second.ports[80]  # of image.toml, but none of them at 8080
            assert set(second.ports) == {80, 81}
            first.expect_exact("me ['a']")
            second.expect_exact("you ['b']")
        """,
    )
    result.assert_outcomes(passed=1)


def test_the_entry_point_is_this_module() -> None:
    import tomllib

    text = (Path(__file__).parents[3] / "tools" / "pyproject.toml").read_text()
    pyproject = tomllib.loads(text)
    # By its own name: with `-p floe.testing` beside it, it is still registered once.
    assert pyproject["project"]["entry-points"]["pytest11"] == {"floe.testing": "floe.testing"}
    assert any(word.startswith("pytest") for word in pyproject["project"]["optional-dependencies"]["testing"])


def test_a_new_project_tests_itself(pytester: pytest.Pytester) -> None:
    assert cli.run(["new", "shop"]) == 0
    options = ["-p", "floe.testing", "--floe-accel=tcg"]
    pytester.runpytest_subprocess("shop", *options, timeout=60).assert_outcomes(passed=1)
    main = Path("shop/main.py")
    main.write_text(main.read_text().replace("hello", "good bye").replace("with", "without"))
    result = pytester.runpytest_subprocess("shop", *options, timeout=60)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*- VM 0 -*", "good bye from main.py without [[]'world']"])
    # Tests stay outside of the image.
    frozen = pipeline.build(Path("shop")).image.content["frozen"]
    assert "main.py" in str(frozen) and "test_app" not in str(frozen)
