# SPDX-License-Identifier: MIT
"""vm.py against a real QEMU: how each end of a guest is told, and that nothing is left behind."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from pexpect import EOF, TIMEOUT

from floe.errors import VmError, VmExitedEarly
from floe.qemu.accel import check_kvm
from floe.qemu.commandline import Endpoints, command_line
from floe.qemu.qmp import negotiate
from floe.spec.vmspec import VmSpec, Wires, parse_memory
from floe.testing import Boot
from floe.vm.outcome import Outcome
from floe.vm.vm import Vm
from tests.support import tiny


@pytest.mark.any_accel
@pytest.mark.parametrize("code", [0, 1, 2, 42, 119])
def test_the_script_s_code_is_the_vm_s(boot: Boot, tmp_path: Path, code: int) -> None:
    vm = boot(tiny.build(tmp_path, tiny.say("up\n"), tiny.leave(code)), deadline_s=20)
    vm.expect_exact("up\n")
    assert vm.wait() == code
    assert vm.outcome == Outcome(code, "exit")


@pytest.mark.any_accel
@pytest.mark.parametrize(("code", "cause"), [(120, "panic"), (121, "memory")])
def test_a_guest_that_says_why(boot: Boot, tmp_path: Path, code: int, cause: str) -> None:
    vm = boot(tiny.build(tmp_path, tiny.leave(code)), deadline_s=20)
    assert vm.wait() == code
    assert vm.outcome == Outcome(code, cause)


@pytest.mark.parametrize("machine", ["microvm", "q35", "pc"])
def test_every_machine_boots(boot: Boot, tmp_path: Path, machine: str) -> None:
    vm = boot(tiny.build(tmp_path, tiny.say(machine), tiny.leave(7)), deadline_s=30, machine=machine)
    vm.expect_exact(machine)
    assert vm.wait() == 7


def test_a_triple_fault_is_a_crash_not_a_loop(tmp_path: Path) -> None:
    with Vm(VmSpec(tiny.build(tmp_path, tiny.say("x"), tiny.TRIPLE_FAULT))) as vm:
        assert vm.wait(deadline_s=20) == 120
        assert vm.outcome == Outcome(120, "crash")
        assert vm.console_text == "x"


def test_no_guest_ends_before_its_end_can_be_told(tmp_path: Path) -> None:
    """QEMU drops an event that no monitor has asked for: with a busy host that was a triple fault's, at times."""
    ours, theirs = zip(*(socket.socketpair() for _ in range(3)), strict=True)
    wires = Wires(*(str(s.fileno()) for s in theirs))
    argv = command_line(VmSpec(tiny.build(tmp_path, tiny.TRIPLE_FAULT), accel="tcg"), Endpoints.for_wires(wires))
    with subprocess.Popen(argv, pass_fds=[s.fileno() for s in theirs]) as qemu:
        for s in theirs:
            s.close()
        try:
            with pytest.raises(subprocess.TimeoutExpired):
                qemu.wait(0.5)
            negotiate(ours[2])
            assert qemu.wait(10) == 0
        finally:
            qemu.kill()
        told = b""
        # A QEMU that ended before it had read all of our words resets the connection, behind what it said.
        with contextlib.suppress(ConnectionResetError):
            while said := ours[2].recv(4096):
                told += said
        for s in ours:
            s.close()
    assert b'"guest-reset"' in told


def test_a_reset_that_was_asked_for_starts_the_guest_again(boot: Boot, tmp_path: Path) -> None:
    vm = boot(tiny.build(tmp_path, tiny.say("boot."), tiny.leave(122)), deadline_s=20)
    first = vm.pid
    for _ in range(3):
        vm.expect_exact("boot.")
    assert vm.resets >= 2
    assert vm.pid != first
    vm.kill()
    assert vm.outcome == Outcome(130, "interrupt")


def test_wait_over_its_deadline_ends_the_vm(boot: Boot, tmp_path: Path) -> None:
    vm = boot(tiny.build(tmp_path, tiny.say("up"), tiny.HANG), deadline_s=20)
    vm.expect_exact("up")
    assert vm.expect_exact(["more", TIMEOUT], timeout=0.1) == 1
    assert vm.wait(deadline_s=0.1) == 124
    assert not _alive(vm.pid)


def test_expect_sees_the_end_of_the_vm(boot: Boot, tmp_path: Path) -> None:
    vm = boot(tiny.build(tmp_path, tiny.say("only this"), tiny.leave(0)), deadline_s=20)
    vm.expect_exact("only")
    assert vm.expect_exact(["only", EOF]) == 1  # what was found once is done with
    assert (vm.before, vm.after) == (" this", EOF)
    with pytest.raises(EOF, match="exit code 0"):
        vm.expect("that")


def test_expect_is_pexpect_s(boot: Boot, tmp_path: Path) -> None:
    vm = boot(tiny.build(tmp_path, tiny.say("port 8080, up"), tiny.HANG), deadline_s=20)
    assert vm.expect([EOF, r"port (\d+),", "down"]) == 1  # with the comma: text comes in pieces
    assert (vm.before, vm.after, vm.match[1]) == ("", "port 8080,", "8080")
    with pytest.raises(TIMEOUT, match=r"VM: .*, running"):
        vm.expect("down", timeout=0.2)
    assert vm.expect_exact("up") == 0
    assert vm.before == " "


def test_leaving_the_block_ends_qemu(tmp_path: Path) -> None:
    with Vm(VmSpec(tiny.build(tmp_path, tiny.HANG))) as vm:
        assert _alive(vm.pid)
    assert not _alive(vm.pid)
    vm.close()


def test_qemu_killed_from_outside_is_told(tmp_path: Path) -> None:
    with Vm(VmSpec(tiny.build(tmp_path, tiny.say("up"), tiny.HANG))) as vm:
        vm.expect_exact("up", timeout=20)
        os.kill(vm.pid, signal.SIGKILL)
        with pytest.raises(VmExitedEarly, match="killed by SIGKILL") as error:
            vm.wait(deadline_s=20)
    assert "guest: up" in error.value.evidence
    assert error.value.exit_code == 126


def test_a_guest_that_kvm_cannot_run_does_not_hang(tmp_path: Path) -> None:
    try:
        check_kvm()
    except VmError as e:
        pytest.skip(f"SKIP: {e.message}")
    # int3 without a table of interrupts: on VT-x and SVM a triple fault; a KVM that emulates ring 0 gives up and
    # QEMU pauses the VM for ever.
    with Vm(VmSpec(tiny.build(tmp_path, "movl $0, -8(%esp)\n lidt -8(%esp)\n int3"), accel="kvm")) as vm:
        try:
            assert vm.wait(deadline_s=20) == 120
        except VmExitedEarly as e:
            assert "could not go on" in e.message
            assert "KVM internal error" in e.evidence


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_qemu_does_not_outlive_floe(tmp_path: Path, number: signal.Signals) -> None:
    elf = tiny.build(tmp_path, tiny.say("up"), tiny.HANG)
    program = textwrap.dedent(f"""
        import signal
        from pathlib import Path
        from floe.spec.vmspec import VmSpec
        from floe.vm.vm import Vm
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup, where these tests run under it, ignores it
        with Vm(VmSpec(Path({str(elf)!r}))) as vm:
            vm.expect("up", timeout=20)
            print(vm.pid, flush=True)
            vm.wait(deadline_s=60)
    """)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as floe:
        assert floe.stdout is not None
        pid = int(floe.stdout.readline())
        qemu = os.pidfd_open(pid)
        floe.send_signal(number)
    assert _ended(qemu, deadline_s=10)


@pytest.mark.parametrize(("memory", "is_small"), [("64M", True), ("65M", False)])
def test_a_small_vm_has_small_pages(tmp_path: Path, memory: str, is_small: bool) -> None:
    """Huge ones are zeroed whole, and a small guest touches little of each. Others have what this process has."""
    ours = Path("/proc/self/status").read_text()
    huge = "0" if is_small else ours.partition("\nTHP_enabled:\t")[2][:1]
    with Vm(VmSpec(tiny.build(tmp_path, tiny.HANG), memory=parse_memory(memory))) as vm:
        status = Path(f"/proc/{vm.pid}/status").read_text()
        assert f"\nTHP_enabled:\t{huge}\n" in status


def test_two_vms_in_one_loop_serve_each_other(boot: Boot, tmp_path: Path) -> None:
    quiet = boot(tiny.build(tmp_path, tiny.say("quiet"), tiny.HANG), deadline_s=20)
    other = boot(tiny.build(tmp_path, tiny.say("other"), tiny.leave(3)), deadline_s=20)
    quiet.expect_exact("quiet")
    assert quiet.expect_exact(["never", TIMEOUT], timeout=1) == 1
    assert other.outcome == Outcome(3, "exit")  # nobody waited on it


def test_no_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elf = tiny.build(tmp_path, tiny.leave(0))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    before = set(os.listdir("/proc/self/fd"))
    with Vm(VmSpec(elf)) as vm:
        vm.wait(deadline_s=20)
    assert list(scratch.iterdir()) == []
    assert set(os.listdir("/proc/self/fd")) == before


def _alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _ended(pidfd: int, deadline_s: float) -> bool:

    return bool(select.select([pidfd], [], [], deadline_s)[0])
