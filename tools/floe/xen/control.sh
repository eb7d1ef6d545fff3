# SPDX-License-Identifier: MIT
# Owns one Xen domain, from `xl create` to `xl destroy`, which the end of its input asks for. Runs in dom0 as text that
# scripts.py hands to `sh -c`: POSIX shell, for busybox as for a full dom0, with xl and xenstore-*.
#
#   $1  bytes of the ELF, with which the input begins
#   $2  bytes of the XenStore commands that follow it (scripts.store()); 0: none. Else the domain starts paused, and
#       runs when all is written
#   $3  xl's configuration, without the kernel
#
# The domain is destroyed when our input ends, whoever is faster: `id` is written before `over` is looked for, and
# `over` before `id`. Few programs are started: each costs an emulated dom0 some 20 ms.
elf_bytes=$1 store_bytes=$2 config=$3
[ "$store_bytes" = 0 ] && paused= || paused=-p
suspended=
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
umask 077
set -f
d=$(mktemp -d /run/floe.XXXXXX) || exit
take() { dd bs="$2" count=1 iflag=fullblock of="$d/$1" 2>/dev/null; }
take elf "$elf_bytes"
[ "$store_bytes" = 0 ] || take store "$store_bytes"
printf '%s\nkernel="%s/elf"\n' "$config" "$d" >"$d/config"
# Its end, with two words of its own: whatever it wrote, no line of ours is made from it.
ended() {
    reason=$1
    set -- $(xenstore-read "$P/data/floe-exit" 2>/dev/null)
    printf 'floe: shutdown %s %.20s %.20s\n' "$reason" "$1" "$2"
}
# xl leaves a domain that it sees suspended. One that was saved goes on: until its end, which `xl list` tells by a letter
# (public/sched.h: poweroff, reboot, suspend, crash, watchdog), or until there is none of that number.
follow() {
    while set -- $(xl list "$id" 2>/dev/null | tail -n 1) && [ "$2" = "$id" ]; do
        case $5 in
        ???s-?) ended 0 && return ;;
        ???sr?) ended 1 && return ;;
        ???sc?) ended 3 && return ;;
        ???sw?) ended 4 && return ;;
        esac
        timeout 2 xenstore-watch -n 2 @releaseDomain >/dev/null
    done
}
{ xl create -F $paused -q "$d/config" 2>&1 </dev/null; echo "floe: xl $?"; } | while IFS= read -r line; do
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
        echo "floe: domain $id $d $tty"
        if [ -n "$paused" ]; then
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
    *"has shut down, reason code 2 "*) suspended=y ;;
    *"has shut down, reason code "*)
        reason=${line#*reason code }
        ended "${reason%% *}"
        ;;
    "floe: xl "*)
        [ -z "$suspended" ] || follow
        printf '%s\n' "$line"
        ;;
    *) printf '%s\n' "$line" ;;
    esac
done &
# scripts.FAMILY has written down who it is. It must not outlive the domain, whose pages it has mapped.
end_family() {
    [ -e "$d/family" ] || return
    read -r pid <"$d/family" && read -r program <"/proc/$pid/comm" || return
    case $program in vchan-socket-*) kill "$pid" ;; esac
} 2>/dev/null
while read -r word; do
    [ "$word" != family ] || end_family
done
: >"$d/over"
if [ -e "$d/id" ]; then
    read -r id <"$d/id"
    xl destroy "$id" 2>/dev/null
fi
end_family
wait
rm -rf "$d"
