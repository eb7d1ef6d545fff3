# SPDX-License-Identifier: MIT
# What goes wrong between processes.


class ProcessError(Exception):
    pass


class TimeoutError(ProcessError):
    pass


class BufferTooShort(ProcessError):
    pass
