# SPDX-License-Identifier: MIT
# Numbers of the VM's entropy.


class SystemRandom:
    """Numbers of the VM's entropy, which no seed repeats."""

    def getrandbits(self, k):
        from secrets import randbits

        return randbits(k)

    def random(self):
        return self.getrandbits(53) / 9007199254740992.0

    def randbytes(self, n):
        from os import urandom as entropy

        return entropy(n)

    def randrange(self, start, stop=None, step=1):
        from secrets import randbelow

        if stop is None:
            start, stop = 0, start
        n = len(range(start, stop, step))
        if not n:
            raise ValueError("empty range for randrange()")
        return start + step * randbelow(n)

    def randint(self, a, b):
        return self.randrange(a, b + 1)

    def choice(self, seq):
        if not len(seq):
            raise IndexError("Cannot choose from an empty sequence")
        return seq[self.randrange(len(seq))]

    def shuffle(self, x):
        for i in range(len(x) - 1, 0, -1):
            j = self.randrange(i + 1)
            x[i], x[j] = x[j], x[i]

    def uniform(self, a, b):
        return a + (b - a) * self.random()

    def seed(self, *_):
        """Does nothing, as CPython's."""
