# SPDX-License-Identifier: MIT
# CPython's pathlib for POSIX paths: PurePosixPath computes, PosixPath, which is Path, asks the VM's file systems.
# There are no links and no users; stat() gives MicroPython's tuple.

import os
from fnmatch import fnmatchcase


class PurePath:
    def __init__(self, *segments):
        text = ""
        for segment in segments:
            segment = os.fspath(segment)
            if not isinstance(segment, str):
                raise TypeError("argument should be a str or an os.PathLike object")
            if segment.startswith("/") or not text:
                text = segment
            else:
                text += segment if text.endswith("/") else "/" + segment
        slashes = len(text) - len(text.lstrip("/"))
        self.root = "" if not slashes else "//" if slashes == 2 else "/"
        self._names = [name for name in text.split("/") if name not in ("", ".")]

    drive = ""

    @property
    def anchor(self):
        return self.root

    @property
    def parts(self):
        return tuple(([self.root] if self.root else []) + self._names)

    def _of(self, root, names):
        made = type(self)()
        made.root = root
        made._names = list(names)
        return made

    def __str__(self):
        return self.root + "/".join(self._names) or "."

    def __fspath__(self):
        return str(self)

    def __repr__(self):
        return "%s(%r)" % (type(self).__name__, str(self))

    def as_posix(self):
        return str(self)

    def as_uri(self):
        from urllib.parse import quote

        if not self.is_absolute():
            raise ValueError("relative path can't be expressed as a file URI")
        return "file://" + quote(str(self))

    def __hash__(self):
        return hash(str(self))

    def __eq__(self, other):
        return isinstance(other, PurePath) and str(self) == str(other)

    def __lt__(self, other):
        return self.parts < other.parts if isinstance(other, PurePath) else NotImplemented

    def __le__(self, other):
        return self.parts <= other.parts if isinstance(other, PurePath) else NotImplemented

    def __gt__(self, other):
        return self.parts > other.parts if isinstance(other, PurePath) else NotImplemented

    def __ge__(self, other):
        return self.parts >= other.parts if isinstance(other, PurePath) else NotImplemented

    def __truediv__(self, other):
        return self.joinpath(other) if isinstance(other, (str, PurePath)) else NotImplemented

    def __rtruediv__(self, other):
        return type(self)(other, self) if isinstance(other, str) else NotImplemented

    def joinpath(self, *others):
        return type(self)(self, *others)

    @property
    def name(self):
        return self._names[-1] if self._names else ""

    @property
    def suffix(self):
        at = self.name.rfind(".")
        return self.name[at:] if 0 < at < len(self.name) - 1 else ""

    @property
    def suffixes(self):
        if self.name.endswith("."):
            return []
        return ["." + part for part in self.name.lstrip(".").split(".")[1:]]

    @property
    def stem(self):
        return self.name[: len(self.name) - len(self.suffix)]

    @property
    def parent(self):
        return self._of(self.root, self._names[:-1]) if self._names else self

    @property
    def parents(self):
        return [self._of(self.root, self._names[:n]) for n in range(len(self._names) - 1, -1, -1)]

    def is_absolute(self):
        return bool(self.root)

    def is_reserved(self):
        return False

    def is_relative_to(self, other):
        other = type(self)(other)
        return self.root == other.root and self._names[: len(other._names)] == other._names

    def relative_to(self, other):
        other = type(self)(other)
        if not self.is_relative_to(other):
            raise ValueError("%r is not in the subpath of %r" % (str(self), str(other)))
        return self._of("", self._names[len(other._names) :])

    def with_name(self, name):
        if not self.name:
            raise ValueError("%r has an empty name" % (self,))
        if not name or "/" in name or name == ".":
            raise ValueError("Invalid name %r" % (name,))
        return self._of(self.root, self._names[:-1] + [name])

    def with_stem(self, stem):
        return self.with_name(stem + self.suffix)

    def with_suffix(self, suffix):
        if suffix and (not suffix.startswith(".") or suffix == "." or "/" in suffix):
            raise ValueError("Invalid suffix %r" % (suffix,))
        return self.with_name(self.stem + suffix)

    def match(self, pattern):
        """From the right, name by name; an absolute pattern wants all of the path."""
        wanted = PurePath(pattern)
        if not wanted._names and not wanted.root:
            raise ValueError("empty pattern")
        n = len(wanted._names)
        if n > len(self._names) or (wanted.root and (not self.root or n != len(self._names))):
            return False
        return all(fnmatchcase(a, b) for a, b in zip(self._names[len(self._names) - n :], wanted._names))


class PurePosixPath(PurePath):
    pass


class Path(PurePath):
    @classmethod
    def cwd(cls):
        return cls(os.getcwd())

    @classmethod
    def home(cls):
        return cls(os.path.expanduser("~"))

    def expanduser(self):
        return type(self)(os.path.expanduser(str(self)))

    def absolute(self):
        return self if self.root else type(self)(os.getcwd(), self)

    def resolve(self, strict=False):
        if strict:
            self.stat()
        return type(self)(os.path.abspath(str(self)))

    def stat(self):
        return os.stat(str(self))

    lstat = stat

    def exists(self):
        return os.path.exists(str(self))

    def is_dir(self):
        return os.path.isdir(str(self))

    def is_file(self):
        return os.path.isfile(str(self))

    def is_symlink(self):
        return False

    def samefile(self, other):
        return os.path.samefile(str(self), os.fspath(other))

    def iterdir(self):
        for entry in os.ilistdir(str(self)):
            yield self / entry[0]

    def open(self, mode="r", buffering=-1, encoding=None, errors=None, newline=None):
        return open(str(self), mode)

    def read_text(self, encoding=None, errors=None):
        with open(str(self)) as f:
            return f.read()

    def read_bytes(self):
        with open(str(self), "rb") as f:
            return f.read()

    def write_text(self, data, encoding=None, errors=None, newline=None):
        if not isinstance(data, str):
            raise TypeError("data must be str, not " + type(data).__name__)
        with open(str(self), "w") as f:
            return f.write(data)

    def write_bytes(self, data):
        if isinstance(data, str):
            raise TypeError("a bytes-like object is required, not 'str'")
        with open(str(self), "wb") as f:
            return f.write(data)

    def mkdir(self, mode=0o777, parents=False, exist_ok=False):
        if parents and self._names[1:] and not self.parent.exists():
            self.parent.mkdir(mode, True, True)
        try:
            os.mkdir(str(self))
        except OSError:
            if not exist_ok or not self.is_dir():
                raise

    def touch(self, mode=0o666, exist_ok=True):
        if not exist_ok and self.exists():
            raise OSError(17)  # EEXIST
        open(str(self), "a").close()

    def unlink(self, missing_ok=False):
        try:
            os.remove(str(self))
        except OSError:
            if not missing_ok or self.exists():
                raise

    def rmdir(self):
        os.rmdir(str(self))

    def rename(self, target):
        os.rename(str(self), os.fspath(target))
        return type(self)(target)

    def replace(self, target):
        os.replace(str(self), os.fspath(target))
        return type(self)(target)

    def glob(self, pattern):
        names = PurePath(pattern)._names
        if os.fspath(pattern).startswith("/"):
            raise NotImplementedError("Non-relative patterns are unsupported")
        if not names:
            raise ValueError("Unacceptable pattern: %r" % (pattern,))
        seen = set()
        for found in self._glob(names):
            if str(found) not in seen:
                seen.add(str(found))
                yield found

    def rglob(self, pattern):
        return self.glob("**/" + os.fspath(pattern))

    def _glob(self, names):
        first, rest = names[0], names[1:]
        entries = list(os.ilistdir(str(self))) if self.is_dir() else []
        if first == "**":
            if rest:
                yield from self._glob(rest)
            else:
                yield self
            for entry in entries:
                if entry[1] & 0xF000 == 0x4000:
                    yield from (self / entry[0])._glob(names)
            return
        for entry in entries:
            if fnmatchcase(entry[0], first):
                if not rest:
                    yield self / entry[0]
                elif entry[1] & 0xF000 == 0x4000:
                    yield from (self / entry[0])._glob(rest)


class PosixPath(Path):
    pass
