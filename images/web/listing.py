# SPDX-License-Identifier: MIT
"""A folder without an index.html as a page."""

import os

from hosts import quote
from message import Response

_PAGE = (
    '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>%s</title></head>\n'
    "<body><h1>%s</h1>\n<ul>\n%s</ul>\n</body></html>\n"
)
_ENTRY = '<li><a href="%s">%s</a></li>\n'


def list_folder(url: str, folder: str, hidden: str) -> Response:
    """hidden: a path that is not told."""
    names = []
    base = folder.rstrip("/") + "/"
    for entry in os.ilistdir(folder):
        if entry[0][0] != "." and base + entry[0] != hidden:
            names.append(entry[0] + ("/" if entry[1] == 0x4000 else ""))
    entries = [
        _ENTRY % ("./" + str(quote(name), "utf-8").replace("&", "&amp;"), _escaped(name)) for name in sorted(names)
    ]
    if url != "/":
        entries.insert(0, _ENTRY % ("../", "../"))
    title = _escaped(url)
    text = _PAGE % (title, title, "".join(entries))
    return Response(200, text.encode(), b"text/html; charset=utf-8", ((b"Cache-Control", b"no-cache"),))


def _escaped(text: str) -> str:
    for char, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&#39;")):
        text = text.replace(char, name)
    return text
