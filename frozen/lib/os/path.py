# SPDX-License-Identifier: MIT
"""CPython's os.path for a VM's files: POSIX paths, no links, no users."""

import uos

curdir = "."
pardir = ".."
sep = "/"
extsep = "."
pathsep = ":"
altsep = None
_FOLDER = 0x4000


def _str(path):
    if isinstance(path, str):
        return path
    if hasattr(path, "__fspath__"):
        return path.__fspath__()
    raise TypeError("expected str or os.PathLike object, not " + type(path).__name__)


def join(path, *paths):
    path = _str(path)
    for part in paths:
        part = _str(part)
        if part.startswith("/") or not path:
            path = part
        else:
            path += part if path.endswith("/") else "/" + part
    return path


def split(path):
    path = _str(path)
    at = path.rfind("/") + 1
    head, tail = path[:at], path[at:]
    return head.rstrip("/") or head, tail


def basename(path):
    return split(path)[1]


def dirname(path):
    return split(path)[0]


def splitext(path):
    path = _str(path)
    start = path.rfind("/") + 1
    while path[start : start + 1] == ".":
        start += 1  # the dots of a hidden file
    at = path.rfind(".", start)
    return (path, "") if at < 0 else (path[:at], path[at:])


def splitdrive(path):
    return "", _str(path)


def isabs(path):
    return _str(path).startswith("/")


def normpath(path):
    path = _str(path)
    slashes = len(path) - len(path.lstrip("/"))
    parts = []
    for part in path.split("/"):
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part not in ("", ".") and (part != ".." or not slashes):
            parts.append(part)
    return ("//" if slashes == 2 else "/" if slashes else "") + "/".join(parts) or "."


def abspath(path):
    path = _str(path)
    return normpath(path if isabs(path) else join(uos.getcwd(), path))


realpath = abspath


def normcase(path):
    return _str(path)


def relpath(path, start="."):
    if not path:
        raise ValueError("no path specified")
    there = [part for part in abspath(path).split("/") if part]
    here = [part for part in abspath(start).split("/") if part]
    same = 0
    while same < min(len(there), len(here)) and there[same] == here[same]:
        same += 1
    return "/".join([".."] * (len(here) - same) + there[same:]) or "."


def commonprefix(paths):
    if not paths:
        return ""
    first, last = min(paths), max(paths)
    n = 0
    while n < len(first) and n < len(last) and first[n] == last[n]:
        n += 1
    return first[:n]


def commonpath(paths):
    paths = [_str(path) for path in paths]
    if not paths:
        raise ValueError("commonpath() arg is an empty sequence")
    if len({isabs(path) for path in paths}) > 1:
        raise ValueError("Can't mix absolute and relative paths")
    split = [[part for part in path.split("/") if part not in ("", ".")] for path in paths]
    first, last = min(split), max(split)
    n = 0
    while n < min(len(first), len(last)) and first[n] == last[n]:
        n += 1
    return ("/" if isabs(paths[0]) else "") + "/".join(first[:n])


def _stat(path):
    try:
        return uos.stat(_str(path))
    except OSError:
        return None


def exists(path):
    return _stat(path) is not None


lexists = exists


def isdir(path):
    found = _stat(path)
    return found is not None and found[0] & 0xF000 == _FOLDER


def isfile(path):
    found = _stat(path)
    return found is not None and found[0] & 0xF000 != _FOLDER


def islink(path):
    return False


def getsize(path):
    return uos.stat(_str(path))[6]


def getmtime(path):
    return uos.stat(_str(path))[8]


def samefile(one, other):
    uos.stat(_str(one))
    uos.stat(_str(other))
    return abspath(one) == abspath(other)


def expanduser(path):
    """There are no users: ~ is the variable HOME, where there is one."""
    path = _str(path)
    home = uos.getenv("HOME")
    return home.rstrip("/") + path[1:] or "/" if home is not None and (path == "~" or path.startswith("~/")) else path


def expandvars(path):
    path = _str(path)
    out = ""
    at = 0
    while (dollar := path.find("$", at)) >= 0:
        out += path[at:dollar]
        end = dollar + 1
        braced = path[end : end + 1] == "{"
        if braced:
            end = path.find("}", end) + 1 or len(path) + 1
            name = path[dollar + 2 : end - 1]
        else:
            while end < len(path) and (path[end].isalpha() or path[end].isdigit() or path[end] == "_"):
                end += 1
            name = path[dollar + 1 : end]
        value = uos.getenv(name) if name and end <= len(path) else None
        out += path[dollar:end] if value is None else value
        at = end
    return out + path[at:]
