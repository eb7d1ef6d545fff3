# SPDX-License-Identifier: MIT
# What makes a dev image like a board, before its script runs: files at /, on a RAM disk where no disk was given, that
# can be imported. The RAM disk outlives a soft reset, as a board's flash does.

import sys

import vfs
from _disks import littlefs

import floe

_SHARE = 16  # of the RAM, at most; it takes memory as it fills
_LEAST, _MOST = 256 << 10, 16 << 20
_BLOCK = 4096


def _ramfs():
    size = min(max(floe.mem_info()["ram"] // _SHARE, _LEAST), _MOST)
    dev = floe.ramdisk(size, _BLOCK)
    try:
        return littlefs(dev)
    except OSError:  # the first time
        vfs.VfsLfs2.mkfs(dev, readsize=1024, progsize=dev.sector_size)
        return littlefs(dev)


def _boot():
    if not any(where == "/" for _, where in vfs.mount()):
        vfs.mount(_ramfs(), "/")
    sys.path.insert(0, "")
    sys.path.append("/lib")
