# SPDX-License-Identifier: MIT
"""A stack of `floe compose` under test, apart from all others of this user: `with compose(FILE) as stack`."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from floe.errors import GuestError, NotFound
from floe.spec.ports import HostPorts

if TYPE_CHECKING:
    from floe.detached.control import Status
    from floe.store.stackfolder import Stack as Record

_EXEC_S = 60


class Stack:
    """A stack that is up. Its VMs are named as `floe compose ps` names them: "db", "web.1"."""

    def __init__(self, file: Path, profiles: Sequence[str], variables: Mapping[str, str], state: Path) -> None:
        self.said: list[str] = []  # by floe
        self._file = file
        self._profiles = profiles
        self._variables = variables
        self._state = state

    def up(self) -> None:
        """Start what is not up, and what has changed since, as `floe compose up -d`. Raises FloeError."""
        from floe.compose import stackfile
        from floe.compose import up as bringing
        from floe.store import stackfolder

        with self._apart():
            described = stackfile.load(self._file, {**os.environ, **self._variables})
            folder = stackfolder.provide(described.file, described.name, described.default_name)
            bringing.Up(described, folder, self.said.append).start(self._profiles)

    def down(self) -> None:
        """End it at once."""
        from floe.compose import stack as stacks
        from floe.store import stackfolder

        with self._apart():
            for folder in stackfolder.everything():
                record = folder.read()
                if record is not None:
                    stacks.down(folder, record, 0, self.said.append)

    @property
    def vms(self) -> list[str]:
        """All of them."""
        with self._apart():
            record = self._record()
            return [name.removeprefix(f"{record.name}.") for name in record.vms]

    def status(self, vm: str) -> Status:
        """What `floe ps` tells: .state, .end, .restarts, .pid."""
        from floe.detached import control
        from floe.store import vmfolder

        with self._apart():
            return control.status(vmfolder.find(self._name(vm)))

    def ports(self, vm: str) -> HostPorts:
        """For each port of the guest that the file forwards, the port of this machine."""
        return HostPorts(self.status(vm).spec.forwards)

    def addresses(self, vm: str) -> dict[str, str]:
        """In each network."""
        with self._apart():
            name = self._name(vm)
            return {network: own[name] for network, own in self._record().addresses.items() if name in own}

    def socket(self, network: str) -> Path:
        """At which programs of this machine join a network of the file's that is no bridge: a stream of frames, each
        behind its length, 4 bytes big endian."""
        with self._apart():
            return Path(self._record().sockets) / f"{network}.net"

    def log(self, vm: str) -> str:
        """What it has said on its console; line ends are as it wrote them."""
        return self.status(vm).folder.console_log.read_text(errors="replace")

    def kill(self, vm: str) -> None:
        """SIGKILL for its hypervisor: what its policy says follows."""
        import signal

        process = self.status(vm).folder.vm
        if process is not None:
            process.signal(signal.SIGKILL)

    def exec(self, vm: str, code: str) -> str:
        """Run code in a VM with `dev = true` and return what it printed. Raises GuestError with its traceback."""
        from mpremote.transport_serial import SerialTransport

        from floe.device import mpremote

        with self._apart():
            name = self._name(vm)
            with mpremote.told(name):
                transport = SerialTransport(mpremote.serial_port(name))
                try:
                    transport.enter_raw_repl(soft_reset=False)
                    said, traceback = transport.exec_raw(code, timeout=_EXEC_S)
                    transport.exit_raw_repl()
                finally:
                    transport.close()
        output: str = said.decode(errors="replace").replace("\r\n", "\n")
        if traceback:
            raise GuestError(traceback.decode(errors="replace"), output)
        return output

    def _record(self) -> Record:
        from floe.compose import stack as stacks
        from floe.compose import stackfile
        from floe.store import stackfolder

        file = stackfile.find(self._file)
        return stacks.read(stackfolder.find(file), str(file))

    def _name(self, vm: str) -> str:
        record = self._record()
        name = f"{record.name}.{vm}"
        if name not in record.vms:
            known = [known.removeprefix(f"{record.name}.") for known in record.vms]
            raise NotFound(f"there is no VM {vm} in the stack {record.name}", evidence=f"there are: {', '.join(known)}")
        return name

    @contextlib.contextmanager
    def _apart(self) -> Iterator[None]:
        """In a folder of state of its own."""
        before = os.environ.get("XDG_STATE_HOME")
        os.environ["XDG_STATE_HOME"] = str(self._state)
        try:
            yield
        finally:
            if before is None:
                del os.environ["XDG_STATE_HOME"]
            else:
                os.environ["XDG_STATE_HOME"] = before


@contextlib.contextmanager
def compose(
    file: str | Path, *, profiles: Sequence[str] = (), variables: Mapping[str, str] | None = None
) -> Iterator[Stack]:
    """Bring up the stack of a file, or of a folder with compose.toml; at the end nothing of it is left.

        with compose("shop/compose.toml", variables={"ACCEL": "tcg"}) as stack:
            port = stack.ports("web")[80]

    `variables` come before the environment's. Raises FloeError when a VM does not start or become ready."""
    state = Path(tempfile.mkdtemp(prefix="floe-stack-"))
    stack = Stack(Path(file), profiles, variables or {}, state)
    try:
        stack.up()
        yield stack
    finally:
        try:
            stack.down()
        finally:
            shutil.rmtree(state, ignore_errors=True)
