# SPDX-License-Identifier: MIT
# Folders of folders, and files that take the place of others.

import uos

from . import path

_EEXIST = 17


def fspath(path):
    if isinstance(path, (str, bytes)):
        return path
    if hasattr(path, "__fspath__"):
        return path.__fspath__()
    raise TypeError("expected str, bytes or os.PathLike object, not " + type(path).__name__)


def replace(src, dst):
    """Over a file that is there, too; a file system that cannot do it at once has neither for a moment."""
    src, dst = fspath(src), fspath(dst)
    try:
        uos.rename(src, dst)
    except OSError as e:
        if e.errno != _EEXIST or path.isdir(dst) or not path.exists(src):
            raise
        uos.remove(dst)
        uos.rename(src, dst)


def makedirs(name, mode=0o777, exist_ok=False):
    name = fspath(name)
    head, tail = path.split(name.rstrip("/"))
    if head and tail and not path.exists(head):
        makedirs(head, mode, True)
    try:
        uos.mkdir(name.rstrip("/") or "/")
    except OSError:
        if not exist_ok or not path.isdir(name):
            raise


def removedirs(name):
    name = fspath(name).rstrip("/")
    uos.rmdir(name)
    name = path.dirname(name)
    while name and name != "/":
        try:
            uos.rmdir(name)
        except OSError:
            return
        name = path.dirname(name)


def walk(top, topdown=True, onerror=None, followlinks=False):
    top = fspath(top)
    folders, files = [], []
    try:
        for entry in uos.ilistdir(top):
            (folders if entry[1] & 0xF000 == 0x4000 else files).append(entry[0])
    except OSError as e:
        if onerror is not None:
            onerror(e)
        return
    if topdown:
        yield top, folders, files
    for folder in folders:
        yield from walk(path.join(top, folder), topdown, onerror)
    if not topdown:
        yield top, folders, files
