# SPDX-License-Identifier: MIT
"""key_of(head): what of a request's head decides its answer where a page is served (modules/http), or None."""

try:
    from _http import key as key_of
except ImportError:  # another MicroPython, without Floe's help: each head is parsed

    def key_of(head: bytes) -> bytes | None:
        return None
