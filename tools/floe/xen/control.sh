# SPDX-License-Identifier: MIT
# Owns one Xen domain, from `xl create` to `xl destroy`, which the end of its input asks for. Runs in dom0 as text that
# scripts.py hands to `sh -c`: POSIX shell, for busybox as for a full dom0, with xl and xenstore-*.
#
#   $1  bytes of the ELF, with which the input begins; 0: the domain is made of another one, once the input asks for it
#   $2  bytes of the XenStore commands that follow it (scripts.store()); 0: none. Else the domain starts paused, and
#       runs when all is written
#   $3  xl's configuration, without the kernel
#
# The input goes on with lines, where the domain is made of another one:
#
#   copy ID BYTES  make a copy of domain ID, which goes on, by the configuration in the bytes behind this line
#   restore VERSION BYTES
#                  make it of a state that is of this version of Xen, and comes into the FIFO `state`
#   run            let it run
#
# The domain is destroyed when our input ends, whoever is faster: `id` is written before `over` is looked for, and
# `over` before `id`. Few programs are started: each costs an emulated dom0 some 20 ms.
elf_bytes=$1 store_bytes=$2 config=$3
[ "$store_bytes" = 0 ] && paused= || paused=-p
[ "$elf_bytes" = 0 ] && is_copy=y || is_copy=
suspended= made= saved=
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
umask 077
set -f
trap '' PIPE # who listens may have died, and the domain is to be destroyed all the same
d=$(mktemp -d /run/floe.XXXXXX) || exit
take() { dd bs="$2" count=1 iflag=fullblock of="$d/$1" 2>/dev/null; }
# Its end, with two words of its own: whatever it wrote, no line of ours is made from it.
ended() {
    reason=$1
    set -- $(xenstore-read "$P/data/floe-exit" 2>/dev/null)
    printf 'floe: shutdown %s %.20s %.20s\n' "$reason" "$1" "$2"
}
# Whether it has ended, which `xl list` tells by a letter (public/sched.h: poweroff, reboot, suspend, crash, watchdog). A
# dom0 that has no memory for an xl is asked again before there is none of that number.
over() {
    for try in 1 2 3; do
        set -- $(xl list "$id" 2>/dev/null | tail -n 1)
        [ "$2" != "$id" ] || break
        [ $try = 3 ] || sleep 1
    done
    [ "$2" = "$id" ] || return 0
    case $5 in
    ???s-?) ended 0 ;;
    ???sr?) ended 1 ;;
    ???sc?) ended 3 ;;
    ???sw?) ended 4 ;;
    ?????d) ;; # destroyed; XenStore told of that once, and others may hold its pages for a while
    *) return 1 ;;
    esac
}
# xl leaves a domain that it sees suspended. One that was saved goes on, and is watched until its end: XenStore tells of
# each end of a domain, and once at the start.
follow() {
    mkfifo "$d/ends"
    while :; do
        timeout 60 xenstore-watch @releaseDomain >"$d/ends" 2>/dev/null &
        while read -r any; do
            over || continue
            kill $!
            return
        done <"$d/ends"
        over && return
        sleep 1
    done
}
create() {
    xl create -F $paused -q "$d/config" 2>&1 </dev/null
    echo "floe: xl $?"
}
# Nothing of the state is ever in a file. xl save is never killed, and never meets a pipe that nobody reads: it is what
# lets domain $1 go on.
copy() {
    {
        {
            xl save -c "$1" /proc/self/fd/3 3>&1 >"$d/said" 2>&1 </dev/null
            echo "floe: saved $?" >&4
        } | {
            xl restore -F -p "$d/config" /proc/self/fd/3 3<&0 2>&1 </dev/null
            status=$?
            cat >/dev/null
            echo "floe: xl $status"
        }
    } 4>&1
}
load() {
    xl restore -F -p "$d/config" "$d/state" 2>&1 </dev/null
    echo "floe: xl $?"
}
version() {
    read -r major </sys/hypervisor/version/major && read -r minor </sys/hypervisor/version/minor || return
    read -r extra </sys/hypervisor/version/extra
    echo "$major.$minor$extra"
}
prepared() {
    [ "$store_bytes" = 0 ] || . "$d/store" || return
    rm -f "$d/store"
}
# Both have come to their end: the one that is copied, and its copy.
copied() {
    if [ "$saved" = 0 ] && [ -n "$made" ]; then
        echo "floe: copied"
    elif [ -n "$saved" ] && [ "$saved" != 0 ]; then
        grep -v progress: "$d/said"
        [ -z "$made" ] || xl destroy "$id"
    fi
}
# An xl that was killed leaves what it has made so far, which may have no name yet. Another one may have destroyed it.
unmade() {
    uuid=
    while IFS='"' read -r key value rest; do
        [ "$key" != "uuid=" ] || uuid=$value
    done <"$d/config"
    [ -n "$uuid" ] || return
    set -- $(xl list -v 2>/dev/null | grep -F " $uuid ")
    [ -z "$2" ] || timeout 60 xl destroy "$2"
}
# Reads what xl says.
heed() {
    while IFS= read -r line; do
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
            if ! prepared; then
                echo "XenStore did not take secrets or seed"
                xl destroy "$id"
                continue
            fi
            if [ -n "$is_copy" ]; then
                made=y
                copied
                continue
            fi
            [ -z "$paused" ] || xl unpause "$id" || continue
            echo "floe: up"
            ;;
        "floe: saved "*)
            saved=${line#floe: saved }
            copied
            ;;
        *"has shut down, reason code 2 "*) suspended=y ;;
        *"has shut down, reason code "*)
            reason=${line#*reason code }
            ended "${reason%% *}"
            ;;
        "floe: xl "*)
            [ -z "$suspended" ] || follow
            [ -z "$is_copy" ] || [ -e "$d/id" ] || unmade
            printf '%s\n' "$line"
            ;;
        *) printf '%s\n' "$line" ;;
        esac
    done
}
# scripts.FAMILY has written down who it is. It must not outlive the domain, whose pages it has mapped.
end_family() {
    [ -e "$d/family" ] || return
    read -r pid <"$d/family" && read -r program <"/proc/$pid/comm" || return
    case $program in vchan-socket-*) kill "$pid" ;; esac
} 2>/dev/null
[ -n "$is_copy" ] || take elf "$elf_bytes"
[ "$store_bytes" = 0 ] || take store "$store_bytes"
if [ -z "$is_copy" ]; then
    printf '%s\nkernel="%s/elf"\n' "$config" "$d" >"$d/config"
    create | heed &
fi
while read -r word first second; do
    case $word in
    copy)
        take config "$second"
        echo 'kernel="/none"' >>"$d/config" # xl wants one, and does not look at it
        copy "$first" | heed &
        ;;
    restore)
        take config "$second"
        echo 'kernel="/none"' >>"$d/config"
        here=$(version)
        if [ "$first" = "$here" ]; then
            saved=0
            mkfifo "$d/state"
            echo "floe: state $d"
            load | heed &
        else
            echo "the state is of Xen $first, and this is Xen $here"
            echo "floe: xl 1"
        fi
        ;;
    family) end_family ;;
    run)
        read -r id <"$d/id"
        if xl unpause "$id"; then echo "floe: up"; else xl destroy "$id"; fi
        ;;
    esac
done
: >"$d/over"
if [ -e "$d/id" ]; then
    read -r id <"$d/id"
    xl destroy "$id" 2>/dev/null
fi
end_family
wait
rm -rf "$d"
