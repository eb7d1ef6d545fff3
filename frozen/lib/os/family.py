# SPDX-License-Identifier: MIT
# VMs as processes, and pipes between them.

from vm import (
    WEXITSTATUS,
    WIFEXITED,
    WIFSIGNALED,
    WNOHANG,
    WTERMSIG,
    _exit,
    close,
    fork,
    get_blocking,
    getpid,
    getppid,
    kill,
    pipe,
    read,
    set_blocking,
    wait,
    waitpid,
    waitstatus_to_exitcode,
    write,
)
