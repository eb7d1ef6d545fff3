# SPDX-License-Identifier: MIT
"""The parent of a detached VM's hypervisor: starts it, starts it again after machine.reset(), and writes down its
exit status for whoever asks later. A process of its own, as small as Python makes one: it imports the standard
library only and is run as a file, without site packages. It outlives the keeper.

    python -I -S parent.py FOLDER STATUS=WORD[,STATUS=WORD...] COMMAND...

A STATUS is an exit status that asks for another start; @BOOTED@ in the command is then its WORD, and nothing before.
COMMAND inherits all descriptors that this process did.
"""

from __future__ import annotations

import os
import signal
import sys

_RECORD_BYTES = 64  # of what record() overwrites; state.py gives a record more


def record(folder: str, name: str, value: int) -> None:
    """Overwrite a record in place: that needs no room on a full disk."""
    try:
        fd = os.open(f"{folder}/{name}", os.O_WRONLY)
        os.pwrite(fd, str(value).encode().ljust(_RECORD_BYTES), 0)
        os.close(fd)
    except OSError:
        pass  # the folder was removed: nobody will ask


def spawn(folder: str, command: list[str]) -> int:
    """Start the command with its messages in hv.log, and return its process id. Raises OSError."""
    log = f"{folder}/hv.log"
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_APPEND, 0),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawn(
        command[0], command, os.environ, file_actions=actions, setsigdef=[signal.SIGHUP, signal.SIGINT]
    )


def main(folder: str, again: dict[int, str], command: list[str]) -> None:
    """Run the command until it ends with a status that is not in `again`."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    word = ""
    while True:
        pid = spawn(folder, [text.replace("@BOOTED@", word) for text in command])
        record(folder, "pid", pid)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status not in again:
            break
        word = again[status]
    record(folder, "exit", status)


if __name__ == "__main__":
    pairs = (pair.partition("=") for pair in sys.argv[2].split(","))
    main(sys.argv[1], {int(status): word for status, _, word in pairs}, sys.argv[3:])
