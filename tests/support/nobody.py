# SPDX-License-Identifier: MIT
"""A call as an ordinary user makes it: in a child that gives root up where the tests run as root."""

from __future__ import annotations

import getpass
import os
import traceback
from collections.abc import Callable

from floe.errors import FloeError

NOBODY = 65534


def error_for_nobody(call: Callable[[], object]) -> tuple[int, str]:
    """Exit code and rendered text of the FloeError that `call` raises; (0, "") if it raises none."""
    getpass.getuser()  # its imports may lie where nobody cannot read
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # leaves by _exit alone: else pytest would go on in two processes
        code, said = 255, ""
        try:
            if os.geteuid() == 0:
                os.setgroups([])  # root's own group would rule out "others"
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            call()
            code = 0
        except FloeError as e:
            code, said = e.exit_code, e.render()
        except BaseException:
            said = traceback.format_exc()
        finally:
            os.write(writing, said.encode())
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code != 255, said
    return code, said
