# SPDX-License-Identifier: MIT
"""What runs in dom0 for a domain: POSIX shell, for busybox as for a full dom0, with xl and xenstore-*. Starts nothing.

The first word of a line that is for us is `floe:`; all else on the stream is xl's own:

    floe: domain ID TTY    it is made; TTY is where xenconsoled has its console
    floe: up               it runs
    floe: shutdown R A B   the reason of SCHEDOP_shutdown (public/sched.h), and two words of the guest's data/floe-exit
    floe: xl STATUS        xl has ended: the domain is gone, or was never made, or has shut down and is preserved
"""

from __future__ import annotations

import base64
import shlex
from collections.abc import Sequence

from floe.spec.handover import Blob

MARK = "floe: "
_CHUNK = 1152  # bytes of a blob in one value: 1536 characters; oxenstored refuses more than 2048, others 4096
_VALUES = 48  # of them in one call of xenstore-write: about 74 KB of arguments

# The domain is destroyed when our input ends, whoever is faster: `id` is written before `over` is looked for, and
# `over` before `id`. Few programs are started: each costs an emulated dom0 some 20 ms.
_CONTROL = r"""
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
umask 077
set -f
d=$(mktemp -d /run/floe.XXXXXX) || exit
take() { dd bs="$2" count=1 iflag=fullblock of="$d/$1" 2>/dev/null; }
take elf @ELF@
[ @STORE@ = 0 ] || take store @STORE@
printf '%s\nkernel="%s/elf"\n' @CONFIG@ "$d" >"$d/config"
{ xl create -F @PAUSED@ -q "$d/config" 2>&1 </dev/null; echo "floe: xl $?"; } | while IFS= read -r line; do
    case $line in
    *"(domid "*") to die"*)
        id=${line#*(domid }
        id=${id%%)*}
        echo "$id" >"$d/id"
        if [ -e "$d/over" ]; then xl destroy "$id"; continue; fi
        P=/local/domain/$id
        tty=$(xenstore-read "$P/console/tty")
        if [ -z "$tty" ]; then
            timeout 5 xenstore-watch -n 2 "$P/console/tty" >/dev/null
            tty=$(xenstore-read "$P/console/tty")
        fi
        echo "floe: domain $id $tty"
        if [ @STORE@ != 0 ]; then
            if ! . "$d/store"; then
                echo "XenStore did not take secrets or seed"
                xl destroy "$id"
                continue
            fi
            rm -f "$d/store"
            xl unpause "$id" || continue
        fi
        echo "floe: up"
        ;;
    *"has shut down, reason code "*)
        reason=${line#*reason code }
        # Two words, whatever it wrote: no line of ours is made from it.
        set -- $(xenstore-read "$P/data/floe-exit" 2>/dev/null)
        printf 'floe: shutdown %s %.20s %.20s\n' "${reason%% *}" "$1" "$2"
        ;;
    *) printf '%s\n' "$line" ;;
    esac
done &
while read -r word; do :; done
: >"$d/over"
if [ -e "$d/id" ]; then
    read -r id <"$d/id"
    xl destroy "$id" 2>/dev/null
fi
wait
rm -rf "$d"
"""

# Joins its own standard streams with a tty whose name is the first line of its input.
CONSOLE = r"""
read -r tty || exit
cat <"$tty" &
exec cat >"$tty"
"""


def control(elf_bytes: int, config: str, store: str) -> str:
    """The script that owns a domain, from `xl create` to `xl destroy`, which its input's end asks for.

    Its input begins with the ELF and the text of store(), where that is not empty: the domain then starts paused, and
    runs when all is written."""
    words = {
        "ELF": str(elf_bytes),
        "STORE": str(len(store.encode())),
        "PAUSED": "-p" if store else "",
        "CONFIG": shlex.quote(config),  # the last: it may hold anything
    }
    text = _CONTROL
    for name, word in words.items():
        text = text.replace(f"@{name}@", word)
    return text


def store(blobs: Sequence[Blob], seed: bytes) -> str:
    """Commands that write what the guest finds in XenStore below floe/ of its own folder, $P; "" for nothing."""
    pairs = [("seed", seed.hex())] if seed else []
    for number, blob in enumerate(blobs):
        pairs += [(f"blob/{number}/name", blob.name), (f"blob/{number}/size", str(len(blob.content)))]
        pairs += [
            (f"blob/{number}/{k}", base64.b64encode(blob.content[at : at + _CHUNK]).decode())
            for k, at in enumerate(range(0, len(blob.content), _CHUNK))
        ]
    calls = [pairs[at : at + _VALUES] for at in range(0, len(pairs), _VALUES)]
    return "".join(
        "xenstore-write " + " ".join(f'"$P/floe/{key}" {value}' for key, value in call) + " || return 1\n"
        for call in calls
    )


def words(name: str, blobs: int) -> list[str]:
    """The same by hand, for --dry-run."""
    paused = ["xl create -p CONFIG", *(["# secrets and env files go to XenStore here"] if blobs else [])]
    return [*paused, f"xl unpause {name}", f"xl console {name}"]
