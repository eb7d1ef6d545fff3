# SPDX-License-Identifier: MIT
"""A VM that does what lines of its console say: forks, and tells what became of it; sys.argv[1] "loop": forks for ever."""

import os
import sys
import time

import vfs  # so that it may have disks


def fork(life):
    try:
        pid = os.fork()
    except OSError as e:
        print("refused", e.errno)
        return
    if pid == 0:
        print("born", os.getpid())
        try:
            time.sleep(life)
        except KeyboardInterrupt:
            os._exit(5)
        os._exit(0)
    print("forked", pid)


def reap():
    pid, status = os.wait()
    print("ended", pid, status)


def loop():
    while True:
        fork(0)
        reap()


def obey():
    while (line := input()) != "end":
        if line == "fork":
            fork(600)
        elif line == "reap":
            reap()


try:
    print("ready", hasattr(vfs, "mount"))
    loop() if "loop" in sys.argv else obey()
except KeyboardInterrupt:
    print("asked to end")
    sys.exit(7)
