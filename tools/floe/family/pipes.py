# SPDX-License-Identifier: MIT
"""The pipes of a family. Their buffers lie here; a VM that writes may have WINDOW bytes on each pipe that nobody has
read yet. Knows VMs by their numbers alone, and sends nothing itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from floe.family.frames import AT_END, MAX_PAYLOAD, NOBODY_READS, READING, BrokenFrame, Kind

WINDOW = 64 << 10
MAX_PIPES = 1 << 14  # of a family; a guest has 512 at most
MAX_BYTES = 64 << 20  # in all of them: what VMs wrote that have ended counts as well

# Of a frame for the VM of this number: kind, payload, pipe.
Send = Callable[[int, Kind, bytes, int], None]


@dataclass(frozen=True)
class Kept:
    """A pipe as one VM has it: which ends it holds, and what lies in it."""

    ident: int
    reads: bool
    writes: bool
    data: bytes


class _Pipe:
    """One pipe: who holds its ends, what lies in it, who waits."""

    def __init__(self, ident: int, maker: int) -> None:
        self.ident = ident
        self.readers = {maker}
        self.writers = {maker}
        self.pieces: deque[tuple[int, bytes]] = deque()  # by whom, what
        self.untaken: dict[int, int] = {}  # bytes of each writer's that lie here
        self.reads: dict[int, int] = {}  # who waits for at most so many bytes, in this order
        self.wants: set[int] = set()  # who is to be told when there is something


class Pipes:
    """All pipes of a family."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._pipes: dict[int, _Pipe] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._pipes)

    def made_by(self, pid: int) -> bool:
        """Whether a pipe lives whose id is one that this VM gives."""
        return any(ident >> 16 == pid for ident in self._pipes)

    # ---- what a VM asks for; a pipe of which it has not the end that this takes is none of its business ----

    def make(self, pid: int, ident: int) -> None:
        """A new pipe, whose ends are both this VM's. Raises BrokenFrame."""
        if ident >> 16 != pid or ident in self._pipes:
            raise BrokenFrame(f"PIPE with the id {ident:#x}")
        if len(self._pipes) >= MAX_PIPES:
            raise BrokenFrame(f"more than {MAX_PIPES} pipes")
        self._pipes[ident] = _Pipe(ident, pid)

    def write(self, pid: int, ident: int, data: bytes) -> None:
        """Raises BrokenFrame."""
        pipe = self._pipes.get(ident)
        if pipe is None or pid not in pipe.writers:
            return
        if not pipe.readers:
            self._nobody_reads(pipe, pid)
            return
        untaken = pipe.untaken.get(pid, 0) + len(data)
        if untaken > WINDOW:
            raise BrokenFrame(f"WRITE of more than {WINDOW} bytes that nobody has taken")
        if self._bytes + len(data) > MAX_BYTES:
            raise BrokenFrame(f"more than {MAX_BYTES >> 20} MiB in pipes that nobody reads")
        pipe.untaken[pid] = untaken
        pipe.pieces.append((pid, data))
        self._bytes += len(data)
        self._serve(pipe)

    def read(self, pid: int, ident: int, most: int) -> None:
        """Raises BrokenFrame."""
        if most == 0:
            raise BrokenFrame("READ of no bytes")
        pipe = self._pipes.get(ident)
        if pipe is None or pid not in pipe.readers:
            return
        if pid in pipe.reads:
            raise BrokenFrame("READ while another one waits")
        pipe.reads[pid] = min(most, MAX_PAYLOAD)
        self._serve(pipe)

    def want(self, pid: int, ident: int, what: int) -> None:
        """Raises BrokenFrame."""
        if what != 1:
            raise BrokenFrame(f"WANT of {what}")
        pipe = self._pipes.get(ident)
        if pipe is not None and pid in pipe.readers:
            pipe.wants.add(pid)
            self._serve(pipe)

    def tell(self, pid: int, ident: int, gives_up: int) -> None:
        """What lies in the pipe; first, where that is said, this VM's READ is taken back. Raises BrokenFrame."""
        if gives_up > 1:
            raise BrokenFrame(f"STATE of {gives_up}")
        pipe = self._pipes.get(ident)
        if pipe is None or pid not in pipe.readers:
            return
        if gives_up:
            pipe.reads.pop(pid, None)
        lies = sum(len(piece) for _, piece in pipe.pieces)
        state = lies if lies or pipe.writers else AT_END
        self._send(pid, Kind.STATE, state.to_bytes(4, "little"), ident)

    def close(self, pid: int, ident: int, end: int) -> None:
        """This VM gives up an end. Raises BrokenFrame."""
        if end > 1:
            raise BrokenFrame(f"CLOSE of the end {end}")
        pipe = self._pipes.get(ident)
        if pipe is not None:
            if end == READING:
                self._give_up_reading(pipe, pid)
            else:
                self._give_up_writing(pipe, pid)

    # ---- what becomes of VMs ----------------------------------------------------------------------------

    def inherit(self, parent: int, child: int) -> None:
        """The child gets each end that the parent holds."""
        for pipe in self._pipes.values():
            for holders in (pipe.readers, pipe.writers):
                if parent in holders:
                    holders.add(child)

    def kept(self, pid: int) -> tuple[Kept, ...]:
        """All pipes of which this VM holds an end."""
        return tuple(
            Kept(pipe.ident, pid in pipe.readers, pid in pipe.writers, b"".join(piece for _, piece in pipe.pieces))
            for pipe in self._pipes.values()
            if pid in pipe.readers or pid in pipe.writers
        )

    def bring(self, pid: int, kept: Sequence[Kept]) -> None:
        """What kept() told, of a VM that is alone now."""
        for one in kept:
            pipe = self._pipes[one.ident] = _Pipe(one.ident, pid)
            if not one.writes:
                pipe.writers.clear()
            if not one.reads:
                pipe.readers.clear()
            elif one.data:
                pipe.pieces.append((0, one.data))  # nobody's: its writer may write as much again
                self._bytes += len(one.data)

    def leave(self, pid: int) -> None:
        """This VM is no more; what it wrote is still to be read."""
        for pipe in list(self._pipes.values()):
            self._give_up_reading(pipe, pid)
            self._give_up_writing(pipe, pid)

    # ---- inside -----------------------------------------------------------------------------------------

    def _give_up_reading(self, pipe: _Pipe, pid: int) -> None:
        if pid not in pipe.readers:
            return
        pipe.readers.discard(pid)
        pipe.reads.pop(pid, None)
        pipe.wants.discard(pid)
        if not pipe.readers:
            self._bytes -= sum(len(piece) for _, piece in pipe.pieces)
            pipe.pieces.clear()
            for writer in sorted(pipe.writers):
                self._nobody_reads(pipe, writer)
        self._drop_if_unheld(pipe)

    def _give_up_writing(self, pipe: _Pipe, pid: int) -> None:
        if pid not in pipe.writers:
            return
        pipe.writers.discard(pid)
        pipe.untaken.pop(pid, None)
        self._serve(pipe)
        self._drop_if_unheld(pipe)

    def _drop_if_unheld(self, pipe: _Pipe) -> None:
        if not pipe.readers and not pipe.writers:
            self._pipes.pop(pipe.ident, None)

    def _nobody_reads(self, pipe: _Pipe, writer: int) -> None:
        pipe.untaken.pop(writer, None)
        self._send(writer, Kind.TAKEN, NOBODY_READS.to_bytes(4, "little"), pipe.ident)

    def _serve(self, pipe: _Pipe) -> None:
        """Give what lies in the pipe to who waits for it."""
        while pipe.reads and (pipe.pieces or not pipe.writers):
            reader = next(iter(pipe.reads))
            data, taken = _take(pipe, pipe.reads.pop(reader))
            self._bytes -= len(data)
            self._send(reader, Kind.DATA, data, pipe.ident)
            for writer, count in taken.items():
                if writer in pipe.untaken:
                    pipe.untaken[writer] -= count
                    self._send(writer, Kind.TAKEN, count.to_bytes(4, "little"), pipe.ident)
        if pipe.wants and (pipe.pieces or not pipe.writers):
            for reader in sorted(pipe.wants):
                self._send(reader, Kind.READABLE, b"", pipe.ident)
            pipe.wants.clear()


def _take(pipe: _Pipe, most: int) -> tuple[bytes, dict[int, int]]:
    """At most so many bytes, and how many of them each VM wrote."""
    data = bytearray()
    taken: dict[int, int] = {}
    while pipe.pieces and len(data) < most:
        writer, piece = pipe.pieces.popleft()
        part = piece[: most - len(data)]
        if len(part) < len(piece):
            pipe.pieces.appendleft((writer, piece[len(part) :]))
        data += part
        taken[writer] = taken.get(writer, 0) + len(part)
    return bytes(data), taken
