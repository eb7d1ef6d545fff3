# SPDX-License-Identifier: MIT
"""Files as a board has them, on whatever is mounted at /; the first argument says what that must be."""

import errno
import io
import os
import sys
import time

import vfs
from guest_base import errno_of

KIND = sys.argv[1]
DIR, FILE = 0x4000, 0x8000
ENOSPC = 28


def test_mounted():
    assert [type(fs).__name__ for fs, where in vfs.mount() if where == "/"] == [KIND]
    assert os.getcwd() == "/"


def test_write_read_append():
    with open("/a.txt", "w") as f:
        assert f.write("one\ntwo\n") == 8
    with open("a.txt", "a") as f:
        f.write("drei \u00e4\n")
    with open("/a.txt") as f:
        assert f.readline() == "one\n"
        assert f.read() == "two\ndrei \u00e4\n"
    with open("/a.txt", "rb") as f:
        assert list(f) == [b"one\n", b"two\n", "drei \u00e4\n".encode()]
        assert f.seek(4) == 4 and f.tell() == 4
        assert f.read(3) == b"two"
        assert f.seek(-3, 2) > 0
        assert f.seek(0) == 0
        buf = bytearray(5)
        assert f.readinto(buf) == 5 and buf == b"one\nt"
    with open("/a.txt", "r+b") as f:
        f.write(b"ONE")
        f.seek(4)
        assert f.read(3) == b"two"
    assert os.stat("/a.txt")[0] == FILE and os.stat("/a.txt")[6] == 16
    os.remove("/a.txt")


def test_stat_has_the_time():
    with open("/now", "w") as f:
        f.write("x")
    age = time.time() - os.stat("/now")[8]
    assert -2 <= age < 60, age
    os.unlink("/now")


def test_folders():
    os.mkdir("/d")
    os.mkdir("/d/e")
    with open("/d/e/f", "w") as f:
        f.write("deep")
    assert os.listdir("/d") == ["e"]
    kind = {name: (mode, size) for name, mode, _, size in os.ilistdir("/d/e")}
    assert kind["f"] == (FILE, 4)
    assert os.stat("/d")[0] == DIR
    os.chdir("/d/e")
    assert os.getcwd() == "/d/e" and os.listdir() == ["f"]
    with open("f") as f:
        assert f.read() == "deep"
    os.chdir("/")
    assert errno_of(os.rmdir, "/d") in (errno.EACCES, 39)  # ENOTEMPTY
    os.rename("/d/e/f", "/d/g")
    os.rmdir("/d/e")
    assert os.listdir("/d") == ["g"]
    os.remove("/d/g")
    os.rmdir("/d")
    assert "d" not in os.listdir("/")


def test_a_folder_does_not_move_into_itself():
    os.mkdir("/e")
    os.mkdir("/e/sub")
    os.mkdir("/beside")
    with open("/e/sub/a", "w") as f:
        f.write("kept")
    for old, new in (
        ("/e", "/e/f"),
        ("/e", "/e/sub/f"),
        ("/e", "/e/../e/f"),
        ("/e/sub", "/e/./sub/f"),
        ("/e", "/e//f"),
    ):
        assert errno_of(os.rename, old, new) == errno.EINVAL, (old, new)
    os.rename("/e", "/beside/e")  # what is not below it is no harm
    os.rename("/beside/e/sub", "/beside/e/subs")
    assert errno_of(os.rename, "/beside", "/beside/e/subs/x") == errno.EINVAL
    with open("/beside/e/subs/a") as f:
        assert f.read() == "kept"
    os.rename("/beside/e/subs", "/subs")
    os.remove("/subs/a")
    for folder in ("/subs", "/beside/e", "/beside"):
        os.rmdir(folder)


def test_errors():
    assert errno_of(open, "/none") == errno.ENOENT
    assert errno_of(os.chdir, "/none") == errno.ENOENT
    assert errno_of(open, "/none/x", "w") == errno.ENOENT
    assert errno_of(os.remove, "/none") == errno.ENOENT
    assert errno_of(os.stat, "/none") == errno.ENOENT
    os.mkdir("/d")
    assert errno_of(os.mkdir, "/d") == errno.EEXIST
    assert errno_of(open, "/d", "r") in (errno.EISDIR, errno.ENOENT, errno.EPERM)
    os.rmdir("/d")
    with open("/closed", "w") as f:
        pass
    refused = False
    try:
        f.write("x")
    except (OSError, ValueError):
        refused = True
    assert refused
    os.remove("/closed")


def test_large_file():
    block = bytes(range(256)) * 64
    before = os.statvfs("/")
    with open("/large", "wb") as f:
        for i in range(20):
            f.write(block)
            f.write(bytes([i]) * (i * 37))
    with open("/large", "rb") as f:
        for i in range(20):
            assert f.read(len(block)) == block, i
            assert f.read(i * 37) == bytes([i]) * (i * 37), i
        assert f.read() == b""
    during = os.statvfs("/")
    used = (before[3] - during[3]) * before[0]
    assert used >= 20 * len(block), used
    os.remove("/large")
    after = os.statvfs("/")
    assert before[2] * before[1] >= 200_000 and after[3] >= before[3] - 1


def test_full():
    piece = bytes(65536)
    code = 0
    f = open("/full", "wb")  # noqa: SIM115 - closing it is what fails on a full disk
    try:
        while True:
            if f.write(piece) < len(piece):
                code = ENOSPC  # FAT says it by a short count
                break
    except OSError as e:
        code = e.errno
    try:
        f.close()
    except OSError:
        pass
    assert code == ENOSPC, code
    os.remove("/full")
    with open("/again", "w") as f:
        f.write("fits")
    os.remove("/again")


def test_many_files():
    for i in range(60):
        with open("/m%d" % i, "w") as f:
            f.write(str(i))
    assert len([n for n in os.listdir("/") if n.startswith("m")]) == 60
    for i in range(60):
        with open("/m%d" % i) as f:
            assert f.read() == str(i)
        os.remove("/m%d" % i)


def test_text_and_bytes_of_a_wrapped_stream():
    with open("/t", "w") as f:
        print("printed", file=f)
    with open("/t") as f:
        assert io.StringIO(f.read()).getvalue() == "printed\n"
    os.remove("/t")
    os.sync()


def run():
    # A disk that came with files keeps them; they stay out of the way.
    for name in sorted(globals()):
        if name.startswith("test_"):
            globals()[name]()
            print("ok", name)
    print("all done")


run()
