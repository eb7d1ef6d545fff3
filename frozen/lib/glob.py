# SPDX-License-Identifier: MIT
"""CPython's glob over fnmatch: files by pattern. ** goes into folders where recursive is true."""

import os
from fnmatch import fnmatchcase


def has_magic(text):
    return any(c in text for c in "*?[")


def escape(pathname):
    return "".join("[" + c + "]" if c in "*?[" else c for c in pathname)


def glob(pathname, *, root_dir=None, recursive=False, include_hidden=False):
    return list(iglob(pathname, root_dir=root_dir, recursive=recursive, include_hidden=include_hidden))


def iglob(pathname, *, root_dir=None, recursive=False, include_hidden=False):
    pathname = os.fspath(pathname)
    under = "" if root_dir is None else os.fspath(root_dir)
    names = [name for name in pathname.split("/") if name]
    walk = _Walk(under, recursive, include_hidden, pathname.endswith("/"))
    return walk.below("/" if pathname.startswith("/") else "", names)


class _Walk:
    def __init__(self, under, recursive, hidden, folders_only):
        self.under = under
        self.recursive = recursive
        self.hidden = hidden
        self.folders_only = folders_only

    def below(self, found, names):
        """What matches the names, below a folder that has been found."""
        if not names:
            return
        first, rest = names[0], names[1:]
        if not has_magic(first):
            yield from self._named(os.path.join(found, first), rest)
        elif self.recursive and first == "**":
            yield from self._deep(found, names)
        else:
            for name, is_folder in self._entries(found, first):
                if fnmatchcase(name, first):
                    yield from self._entry(os.path.join(found, name), is_folder, rest)

    def _named(self, path, rest):
        there = os.path.join(self.under, path)
        if rest:
            if os.path.isdir(there):
                yield from self.below(path, rest)
        elif os.path.isdir(there) if self.folders_only else os.path.exists(there):
            yield self._end(path)

    def _entry(self, path, is_folder, rest):
        if rest:
            if is_folder:
                yield from self.below(path, rest)
        elif is_folder or not self.folders_only:
            yield self._end(path)

    def _deep(self, found, names):
        """** is no folder, or any number of them."""
        if len(names) > 1:
            yield from self.below(found, names[1:])
        elif found and os.path.isdir(os.path.join(self.under, found)):
            yield os.path.join(found, "")
        yield from self._deeper(found, names)

    def _deeper(self, found, names):
        for name, is_folder in self._entries(found, "**"):
            path = os.path.join(found, name)
            if len(names) == 1 and (is_folder or not self.folders_only):
                yield self._end(path)
            if is_folder:
                yield from self.below(path, names[1:])
                yield from self._deeper(path, names)

    def _entries(self, folder, pattern):
        """(name, whether it is a folder), sorted out: hidden ones are for who asks for them."""
        try:
            entries = list(os.ilistdir(os.path.join(self.under, folder) or "."))
        except OSError:
            return
        for entry in entries:
            if not entry[0].startswith(".") or self.hidden or pattern.startswith("."):
                yield entry[0], entry[1] & 0xF000 == 0x4000

    def _end(self, path):
        return path + "/" if self.folders_only else path
