# SPDX-License-Identifier: MIT
# os.environ over getenv() and putenv(), which see the same. It cannot list what it holds: what does raises TypeError.

import uos


class _Environ:
    def __getitem__(self, key):
        value = uos.getenv(key)
        if value is None:
            raise KeyError(key)
        return value

    def __setitem__(self, key, value):
        uos.putenv(key, value)

    def __delitem__(self, key):
        self[key]
        uos.unsetenv(key)

    def __contains__(self, key):
        return uos.getenv(key) is not None

    def __iter__(self):
        raise TypeError("a VM does not list its environment: ask by name")

    def get(self, key, default=None):
        return uos.getenv(key, default)

    def pop(self, key, *default):
        value = uos.getenv(key)
        if value is None and default:
            return default[0]
        del self[key]
        return value

    def setdefault(self, key, default):
        if key not in self:
            self[key] = default
        return self[key]

    def update(self, *other, **more):
        for key, value in dict(*other, **more).items():
            self[key] = value


environ = _Environ()
