# SPDX-License-Identifier: MIT
"""floe.BlockDevice as littlefs, FAT and a script use it: on a blank disk of 1 MiB, which boot.py has formatted."""

import time

import vfs

import floe

EINVAL, ENODEV = 22, 19


def raises(kind, call, *args):
    try:
        call(*args)
    except kind as e:
        return e
    raise AssertionError("nothing was raised")


def test_what_it_is():
    d = floe.BlockDevice(0)
    assert repr(d) == "<BlockDevice 0: virtio-blk, 1 MiB in blocks of 512>", repr(d)
    assert d.size == 1 << 20 and d.readonly is False and d.sector_size == 512
    assert (d.ioctl(1, 0), d.ioctl(2, 0), d.ioctl(3, 0), d.ioctl(4, 0), d.ioctl(5, 0)) == (0, 0, 0, 2048, 512)
    assert d.ioctl(6, 5) == 0 and d.ioctl(99, 0) is None
    big = floe.BlockDevice(0, 4096)
    assert big.ioctl(4, 0) == 256 and big.ioctl(5, 0) == 4096
    assert floe.BlockDevice(0, block_size=65536).ioctl(4, 0) == 16


def test_wrong_arguments():
    assert raises(OSError, floe.BlockDevice, 1).errno == ENODEV
    assert raises(OSError, floe.BlockDevice, -1).errno == ENODEV
    for size in (100, 513, -512, 1 << 25):
        raises(ValueError, floe.BlockDevice, 0, size)
    d = floe.BlockDevice(0)
    raises(TypeError, d.readblocks, 0, b"constant")
    raises(TypeError, d.readblocks, 0, 5)
    raises(TypeError, d.readblocks, "0", bytearray(512))
    raises(AttributeError, setattr, d, "readonly", True)


def test_ends():
    d = floe.BlockDevice(0)
    sector = bytearray(512)
    assert d.readblocks(2047, sector) == 0
    for block, offset in ((2048, 0), (2047, 1), (1 << 40, 0), (-1, 0), (0, -1), (0, 1 << 40)):
        assert d.readblocks(block, sector, offset) == -EINVAL, (block, offset)
        assert d.writeblocks(block, sector, offset) == -EINVAL, (block, offset)
    assert d.readblocks(2000, bytearray(512 * 49)) == -EINVAL
    assert d.readblocks(2048, bytearray(0)) == 0


def test_bytes_at_any_place():
    """Against a model in memory: pieces of all sizes and alignments, read back at once and at the end."""
    d = floe.BlockDevice(0)
    model = bytearray(64 * 512)
    assert d.writeblocks(1000, model) == 0
    seed = 12345
    for _ in range(300):
        seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
        at, n = seed % len(model), (seed >> 8) % 9000 + 1
        n = min(n, len(model) - at)
        piece = bytes((seed >> (i & 7)) & 0xFF for i in range(64)) * (n // 64 + 1)
        piece = memoryview(piece)[:n]
        model[at : at + n] = piece
        assert d.writeblocks(1000 + at // 512, piece, at % 512) == 0
        got = bytearray(n)
        assert d.readblocks(1000 + at // 512, got, at % 512) == 0
        assert got == piece, (at, n)
    whole = bytearray(len(model))
    assert d.readblocks(1000, whole) == 0 and whole == model
    assert d.readblocks(1001, memoryview(whole)[3:1001], 5) == 0
    assert whole[3:1001] == model[517 : 517 + 998]


def test_discard():
    d = floe.BlockDevice(0)
    data = bytearray(b"x" * 4096 * 4)
    assert d.writeblocks(1200, data) == 0
    d.discard(1200, 16)
    got = bytearray(4096)
    assert d.readblocks(1200, got) == 0 and got == bytes(4096)
    assert d.readblocks(1216, got) == 0 and got == b"x" * 4096
    raises(ValueError, d.discard, -1, 1)
    assert raises(OSError, d.discard, 2048, 1).errno == EINVAL
    assert raises(OSError, d.discard, 1 << 55, 16).errno == EINVAL  # 2**64 bytes are not 0


def test_large_requests():
    d = floe.BlockDevice(0)
    data = bytes(range(256)) * 2048
    assert d.writeblocks(0, data) == 0
    got = bytearray(len(data))
    start = time.ticks_us()
    assert d.readblocks(0, got) == 0 and got == data
    assert time.ticks_diff(time.ticks_us(), start) < 5_000_000


def test_zz_leave_something():
    d = floe.BlockDevice(0)
    assert d.writeblocks(100, b"first") == 0
    assert d.writeblocks(2047, b"z" * 512) == 0
    assert d.ioctl(3, 0) == 0


vfs.umount("/")
for name in sorted(globals()):
    if name.startswith("test_"):
        globals()[name]()
        print("ok", name)
print("all done")
