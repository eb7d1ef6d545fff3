# SPDX-License-Identifier: MIT
# Mounts what `--disk` gave, before the script runs: the first disk at /, further ones at /disk1, /disk2, ... littlefs2
# is known by its superblock, FAT by its boot sector; a blank disk is formatted littlefs2. A disk that cannot be mounted
# is left as it is and ends the VM, unless the host said that it is optional. A disk that the VM booted from is none.

import sys

import vfs

import floe

_READ = 4096  # littlefs's unit of reading, a line of the port's own cache; it holds four of them
_LOOKED_AT = 1 << 20  # a disk whose first MiB and last 64 KiB are zeros is blank
_PIECE = 1 << 16
_LOG = 1 << 14  # as much of a superblock's log is read
_NOT_MOUNTED = 119  # the VM's exit code


def littlefs(dev):
    """The file system on a BlockDevice: units as large as its blocks allow, and a fitting allocation window."""
    size = dev.ioctl(5, 0)
    window = min(max(dev.ioctl(4, 0) // 64 * 8, 16), 8192)
    return vfs.VfsLfs2(dev, readsize=min(_READ, size), progsize=dev.sector_size, lookahead=window)


def format(n, block_size=0):
    """Make an empty littlefs2 on disk n, whatever it holds. Large blocks are fast, small ones save room."""
    dev = floe.BlockDevice(n)
    dev = floe.BlockDevice(n, block_size or (4096 if dev.size < 4 << 20 else 16384))
    vfs.VfsLfs2.mkfs(dev, readsize=min(_READ, dev.ioctl(5, 0)), progsize=dev.sector_size, lookahead=16)
    return littlefs(dev)


def open(n):
    """The file system on disk n; None where there is none that we know. A blank disk gets one."""
    dev = floe.BlockDevice(n)
    size = _superblock(dev)[0]
    if size:
        return littlefs(floe.BlockDevice(n, size))
    head = bytearray(dev.sector_size)
    if dev.readblocks(0, head):
        raise OSError(5)
    if head[510] == 0x55 and head[511] == 0xAA:
        try:
            return vfs.VfsFat(floe.BlockDevice(n, int.from_bytes(head[11:13], "little") or 512))
        except (OSError, ValueError):
            return None
    return None if dev.readonly or not _blank(dev) else format(n)


def _superblock(dev):
    # Bytes of a littlefs2's block and how many of them there are; (0, 0) where there is none. It is the log of block 0
    # or, while that is rewritten, of block 1; the newer one holds.
    at, sector, found = 0, dev.sector_size, (0, 0, 0)
    head = bytearray(16)
    while at <= 1 << 20 and at + sector <= dev.size:
        if dev.readblocks(at // sector, head, 0) == 0 and head[8:] == b"littlefs":
            log = bytearray(min(_LOG, dev.size - at))
            size, count = _committed(log) if dev.readblocks(at // sector, log, 0) == 0 else (0, 0)
            revision = int.from_bytes(log[:4], "little")
            if size >= sector and not size & (size - 1) and at in (0, size) and revision >= found[0]:
                found = revision, size, count
        at = at * 2 or sector
        if found[1] and at > found[1]:
            break
    return found[1:]


def _committed(log):
    # What the last superblock entry of a log says that a commit's checksum ends. A tag of the log is XORed with the one
    # before: type (11 bits), id (10), size (10; 0x3FF for something deleted); littlefs' SPEC.md has it.
    entry = last = (0, 0)
    at, tag = 4, 0xFFFFFFFF
    while at + 4 <= len(log):
        tag ^= int.from_bytes(log[at : at + 4], "big")
        if tag >> 31:
            break
        kind, length = tag >> 20, tag & 0x3FF
        if kind == 0x201 and not tag >> 10 & 0x3FF:
            entry = int.from_bytes(log[at + 8 : at + 12], "little"), int.from_bytes(log[at + 12 : at + 16], "little")
        elif kind & 0x780 == 0x500:
            last = entry
            tag ^= (kind & 1) << 31
        at += 4 + (0 if length == 0x3FF else length)
    return last


def _blank(dev):
    step = min(_PIECE, dev.size)
    buf, zeros = bytearray(step), bytes(step)
    places = list(range(0, min(_LOOKED_AT, dev.size - step) + 1, step))
    places.append(dev.size - step)
    for at in places:
        failed = dev.readblocks(at // dev.sector_size, buf)
        if failed or buf != zeros:
            return False
    return True


def _boot():
    # What lies on a disk takes the place of no frozen module: only a dev image imports from there (_board.py).
    if "" in sys.path:
        sys.path.remove("")
    n = mounted = 0
    while True:
        try:
            dev = floe.BlockDevice(n)
        except OSError:
            return
        n += 1
        if _booted_from(dev):
            continue
        problem = _mount(n - 1, dev, "/disk%d" % mounted if mounted else "/")
        mounted += 1
        if problem:
            print("floe: disk %d %s" % (n - 1, problem))
            if not dev.optional:
                print("floe: the script was not started; --disk FILE:optional starts it without that disk")
                sys.exit(_NOT_MOUNTED)


def _booted_from(dev):
    # The disk of `floe build --disk`, whose partition table protects it from whoever knows no other and has our mark.
    head = bytearray(dev.sector_size)
    return dev.readblocks(0, head) == 0 and head[440:444] == b"Floe" and head[450] == 0xEE


def _mount(n, dev, where):
    # Returns what is wrong with disk n, "" if it is mounted.
    kind, size = _promised(dev)
    try:
        if size > dev.size:
            return "has %d bytes, its %s %d: the end is lost, take it from a copy" % (dev.size, kind, size)
        fs = open(n)
        if fs is None:
            return "holds neither littlefs2 nor FAT; it is left alone"
        vfs.mount(fs, where, readonly=dev.readonly)
    except Exception as e:  # whatever a damaged disk makes of it
        if size and size < dev.size and kind == "littlefs2":
            return "has %d bytes, its littlefs2 %d: floe disk grow FILE, on the host" % (dev.size, size)
        return "cannot be mounted: %s; floe disk check FILE, on the host, says more" % e
    return ""


def _promised(dev):
    # What lies on a disk, and how many bytes it says that it has; 0 where it says nothing.
    size, count = _superblock(dev)
    if size:
        return "littlefs2", size * count
    head = bytearray(36)
    if dev.readblocks(0, head, 0) == 0 and head[0] in (0xEB, 0xE9):  # a jump: a boot sector, not a partition table
        sectors = int.from_bytes(head[19:21], "little") or int.from_bytes(head[32:36], "little")
        return "FAT", sectors * int.from_bytes(head[11:13], "little")
    return "", 0
