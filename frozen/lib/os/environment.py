# SPDX-License-Identifier: MIT
# os.environ: what getenv() knows when it is first named, as a dict; what is set or deleted in it is for getenv() too.

import uos


class _Environ(dict):
    def __setitem__(self, key, value):
        for text in (key, value):
            if not isinstance(text, str):
                raise TypeError("str expected, not " + type(text).__name__)
        uos.putenv(key, value)
        super().__setitem__(key, value)

    def __delitem__(self, key):
        super().__delitem__(key)
        uos.unsetenv(key)

    def __or__(self, other):
        made = self.copy()
        made.update(other)
        return made

    def copy(self):
        return dict(self)

    def pop(self, key, *default):
        value = super().pop(key, *default)
        uos.unsetenv(key)
        return value

    def popitem(self):
        key, value = super().popitem()
        uos.unsetenv(key)
        return key, value

    def setdefault(self, key, default):
        if key not in self:
            self[key] = default
        return self[key]

    def update(self, *other, **more):
        for key, value in dict(*other, **more).items():
            self[key] = value

    def clear(self):
        for key in list(self):
            del self[key]


environ = _Environ(uos.getenv())
