# SPDX-License-Identifier: MIT
"""CPython's shutil for a VM's files: copies, moves and removal of trees. Not here: archives, owners, which()."""

import os
from collections import namedtuple

_PIECE = 4096
_usage = namedtuple("usage", ("total", "used", "free"))


class Error(OSError):
    pass


class SameFileError(Error):
    pass


def copyfileobj(fsrc, fdst, length=_PIECE):
    while piece := fsrc.read(length or _PIECE):
        fdst.write(piece)


def copyfile(src, dst, *, follow_symlinks=True):
    src, dst = os.fspath(src), os.fspath(dst)
    if os.path.abspath(src) == os.path.abspath(dst):
        raise SameFileError("%r and %r are the same file" % (src, dst))
    with open(src, "rb") as source, open(dst, "wb") as target:
        copyfileobj(source, target)
    return dst


def copy(src, dst, *, follow_symlinks=True):
    """Into a folder, or to a name."""
    src, dst = os.fspath(src), os.fspath(dst)
    return copyfile(src, os.path.join(dst, os.path.basename(src)) if os.path.isdir(dst) else dst)


copy2 = copy


def ignore_patterns(*patterns):
    from fnmatch import filter

    return lambda folder, names: {name for pattern in patterns for name in filter(names, pattern)}


def copytree(src, dst, symlinks=False, ignore=None, copy_function=copy2, ignore_dangling=False, dirs_exist_ok=False):
    src, dst = os.fspath(src), os.fspath(dst)
    names = os.listdir(src)
    left_out = ignore(src, names) if ignore is not None else ()
    os.makedirs(dst, exist_ok=dirs_exist_ok)
    for name in names:
        if name in left_out:
            continue
        one, other = os.path.join(src, name), os.path.join(dst, name)
        if os.path.isdir(one):
            copytree(one, other, symlinks, ignore, copy_function, ignore_dangling, dirs_exist_ok)
        else:
            copy_function(one, other)
    return dst


def rmtree(path, ignore_errors=False, onerror=None, *, onexc=None):
    """onerror gets (type, error, None), onexc the error; with one of them, or ignore_errors, what follows is tried."""
    for function, name in _removals(os.fspath(path)):
        try:
            function(name)
        except OSError as e:
            if ignore_errors:
                continue
            if onexc is not None:
                onexc(function, name, e)
            elif onerror is not None:
                onerror(function, name, (type(e), e, None))
            else:
                raise


def _removals(path):
    """What is to be called to remove a tree, from its leaves on."""
    if os.path.isdir(path):
        for name in os.listdir(path):
            inner = os.path.join(path, name)
            if os.path.isdir(inner):
                yield from _removals(inner)
            else:
                yield os.remove, inner
    yield os.rmdir, path


def move(src, dst, copy_function=copy2):
    src, dst = os.fspath(src), os.fspath(dst)
    if os.path.isdir(dst) and os.path.abspath(src) != os.path.abspath(dst):
        dst = os.path.join(dst, os.path.basename(src.rstrip("/")))
        if os.path.exists(dst):
            raise Error("Destination path '%s' already exists" % dst)
    if os.path.isdir(src) and (os.path.abspath(dst) + "/").startswith(os.path.abspath(src) + "/"):
        raise Error("Cannot move a directory '%s' into itself '%s'." % (src, dst))
    try:
        os.replace(src, dst)
    except OSError:
        if not os.path.exists(src):
            raise
        if os.path.isdir(src):  # to another file system
            copytree(src, dst, copy_function=copy_function)
            rmtree(src)
        else:
            copy_function(src, dst)
            os.remove(src)
    return dst


def disk_usage(path):
    found = os.statvfs(os.fspath(path))
    total, free = found[2] * found[1], found[3] * found[1]
    return _usage(total, total - free, free)
