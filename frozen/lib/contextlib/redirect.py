# SPDX-License-Identifier: MIT
# redirect_stdout() and redirect_stderr() of what print() writes: sys.stdout itself takes no other value here.

import builtins
import sys

_print = print


def _redirected(*args, file=None, **how):
    for stream in (sys.stdout, sys.stderr):
        targets = _Redirect.targets[stream is sys.stderr]
        if targets and (file is stream or (file is None and stream is sys.stdout)):
            if targets[-1] is not None:
                _print(*args, file=targets[-1], **how)
            return
    _print(*args, file=file or sys.stdout, **how)


class _Redirect:
    targets = ([], [])  # of standard output, of standard error

    def __init__(self, new_target):
        self._target = new_target

    def __enter__(self):
        self.targets[self._error].append(self._target)
        builtins.print = _redirected
        return self._target

    def __exit__(self, kind, error, trace):
        self.targets[self._error].pop()
        if not any(self.targets):
            builtins.print = _print


class redirect_stdout(_Redirect):
    _error = False


class redirect_stderr(_Redirect):
    _error = True
