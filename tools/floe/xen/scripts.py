# SPDX-License-Identifier: MIT
"""What runs in dom0 for a domain: control.sh, which owns it, and a script each for its console and the line of its
family. Starts nothing.

The first word of a line that is for us is `floe:`; all else on the stream is xl's own:

    floe: domain ID FOLDER TTY
                           it is made; FOLDER is control.sh's own; TTY is where xenconsoled has its console
    floe: state FOLDER     it is made of a state, which goes into FOLDER/state: STATE
    floe: copied           it is there as a copy of another one, which has gone on, or of that state
    floe: up               it runs
    floe: shutdown R A B   the reason of SCHEDOP_shutdown (public/sched.h), and two words of the guest's data/floe-exit
    floe: xl STATUS        xl has ended: the domain is gone, or was never made, or has shut down and is preserved
"""

from __future__ import annotations

import base64
import shlex
from collections.abc import Sequence
from pathlib import Path

from floe.spec.handover import Blob

MARK = "floe: "
_CONTROL = Path(__file__).with_name("control.sh")
_CHUNK = 1152  # bytes of a blob in one value: 1536 characters; oxenstored refuses more than 2048, others 4096
_VALUES = 48  # of them in one call of xenstore-write: about 74 KB of arguments

# Joins its own standard streams with a tty whose name is the first line of its input.
CONSOLE = r"""
read -r tty || exit
cat <"$tty" &
exec cat >"$tty"
"""

# Where Xen's own programs are, on Debian and elsewhere.
_PROGRAMS = r"""
{ read -r a </sys/hypervisor/version/major; read -r b </sys/hypervisor/version/minor; } 2>/dev/null
PATH=$PATH:/usr/lib/xen-$a.$b/bin:/usr/lib/xen/bin:/usr/libexec/xen/bin:/usr/local/lib/xen/bin:/usr/local/libexec/xen/bin
"""
# Joins its own standard streams with the vchan that a guest serves. The first line of its input is the domain's number
# and control.sh's folder. The program waits for the guest by itself, and goes on after its input's end: control.sh
# ends it.
FAMILY = rf"""
read -r id d || exit
{_PROGRAMS}
echo $$ >"$d/family" || exit
exec vchan-socket-proxy "$id" "/local/domain/$id/data/floe-family" - 2>/dev/null
"""
END_FAMILY = b"family\n"  # to control.sh: end that program
RUN = b"run\n"  # let the copy run
# The first line of its input is control.sh's folder; the state of a domain follows. xl may have given up by then.
STATE = r"""
read -r d || exit
[ -p "$d/state" ] && exec timeout 600 cat >"$d/state"
"""
SAVED = b"\nfloe: saved "  # behind a state: xl's status, and what it said where that is not 0
# Xen's version in a line, then the state of domain $1, which goes on. As in control.sh, xl save always meets a reader.
_KEEP = r"""
trap '' PIPE
read -r a </sys/hypervisor/version/major && read -r b </sys/hypervisor/version/minor || exit
read -r c </sys/hypervisor/version/extra
echo "$a.$b$c"
said=$(mktemp /run/floe-said.XXXXXX) || exit
{
    xl save -c "$1" /proc/self/fd/3 3>&1 >"$said" 2>&1 </dev/null
    status=$?
    printf '\nfloe: saved %s\n' "$status"
    [ "$status" = 0 ] || grep -v progress: "$said"
    rm -f "$said"
} | {
    cat 2>/dev/null
    cat >/dev/null
}
"""
# Without it the guest has no line, and is not told of one.
_WANTED = f"""{_PROGRAMS}
if command -v vchan-socket-proxy >/dev/null; then
    xenstore-write "$P/floe/family" 1 || return 1
fi
"""


def control(elf_bytes: int, config: str, store: str) -> str:
    """control.sh with its arguments, for a domain of that ELF, configuration and text of store()."""
    arguments = shlex.join([str(elf_bytes), str(len(store.encode())), config])
    return f"set -- {arguments}\n{_CONTROL.read_text()}"


def keep(number: int) -> str:
    """A script that writes the state of that domain."""
    return f"set -- {number}\n{_KEEP}"


def control_copy(store: str) -> str:
    """The same for a domain that will be made of another one."""
    return control(0, "", store)


def store(blobs: Sequence[Blob], seed: bytes, *, family: bool = False) -> str:
    """Commands that write what the guest finds in XenStore below floe/ of its own folder, $P; "" for nothing. family:
    it has a line to its family."""
    pairs = [("seed", seed.hex())] if seed else []
    for number, blob in enumerate(blobs):
        pairs += [(f"blob/{number}/name", blob.name), (f"blob/{number}/size", str(len(blob.content)))]
        pairs += [
            (f"blob/{number}/{k}", base64.b64encode(blob.content[at : at + _CHUNK]).decode())
            for k, at in enumerate(range(0, len(blob.content), _CHUNK))
        ]
    calls = [pairs[at : at + _VALUES] for at in range(0, len(pairs), _VALUES)]
    return (_WANTED if family else "") + "".join(
        "xenstore-write " + " ".join(f'"$P/floe/{key}" {value}' for key, value in call) + " || return 1\n"
        for call in calls
    )


def commands_by_hand(name: str, blobs: int) -> list[str]:
    """The same by hand, for --dry-run."""
    paused = ["xl create -p CONFIG", *(["# secrets and env files go to XenStore here"] if blobs else [])]
    return [*paused, f"xl unpause {name}", f"xl console {name}"]
