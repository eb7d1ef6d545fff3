# SPDX-License-Identifier: MIT
"""CPython's tempfile on a VM's own file system: files and folders that go when they are closed. A VM without a disk has
no place for them: OSError, as for any other file. Where: TMPDIR, or /tmp, which is made."""

import io
import os
from secrets import token_hex

tempdir = None
_TRIES = 100


def gettempdir():
    folder = tempdir or os.getenv("TMPDIR") or "/tmp"
    os.makedirs(folder, exist_ok=True)
    return folder


def gettempprefix():
    return "tmp"


def _fresh(suffix, prefix, dir):
    folder = gettempdir() if dir is None else os.path.abspath(dir)
    for _ in range(_TRIES):
        name = os.path.join(folder, ("tmp" if prefix is None else prefix) + token_hex(4) + (suffix or ""))
        if not os.path.exists(name):
            return name
    raise OSError(17)  # EEXIST


def mkdtemp(suffix=None, prefix=None, dir=None):
    name = _fresh(suffix, prefix, dir)
    os.mkdir(name)
    return name


class TemporaryDirectory:
    def __init__(self, suffix=None, prefix=None, dir=None, ignore_cleanup_errors=False, *, delete=True):
        self.name = mkdtemp(suffix, prefix, dir)
        self._ignore = ignore_cleanup_errors
        self._delete = delete

    def __enter__(self):
        return self.name

    def __exit__(self, *error):
        if self._delete:
            self.cleanup()

    def cleanup(self):
        from shutil import rmtree

        if os.path.exists(self.name):
            rmtree(self.name, self._ignore)


class _Named:
    """A file with its name, which removes itself."""

    def __init__(self, mode, name, delete, delete_on_close):
        self.file = open(name, mode)  # noqa: SIM115 -- it is this object's
        self.name = name
        self.closed = False
        self._delete = delete
        self._delete_on_close = delete_on_close

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __iter__(self):
        return iter(self.file)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()
        self._remove()

    def close(self):
        if not self.closed:
            self.closed = True
            self.file.close()
            if self._delete_on_close:
                self._remove()

    def _remove(self):
        if self._delete:
            self._delete = False
            os.remove(self.name)


def NamedTemporaryFile(
    mode="w+b",
    buffering=-1,
    encoding=None,
    newline=None,
    suffix=None,
    prefix=None,
    dir=None,
    delete=True,
    *,
    delete_on_close=True,
):
    return _Named(mode, _fresh(suffix, prefix, dir), delete, delete_on_close)


def TemporaryFile(mode="w+b", buffering=-1, encoding=None, newline=None, suffix=None, prefix=None, dir=None):
    return _Named(mode, _fresh(suffix, prefix, dir), True, True)


def SpooledTemporaryFile(max_size=0, mode="w+b", *_, **__):
    """In memory, however much it is: a VM's disk may be a small one, or none."""
    return io.BytesIO() if "b" in mode else io.StringIO()
