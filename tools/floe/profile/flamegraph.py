# SPDX-License-Identifier: MIT
"""A flame graph, as an SVG that needs nothing beside it: as wide as a call's part of the samples, callers below."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from floe.profile.samples import Stack
from floe.shown import shown

_WIDTH, _ROW, _MARGIN, _HEAD = 1200, 18, 10, 34
_LETTER = 6.6  # width of one, of 11 pixels' height
_THINNEST = 0.3  # pixels, for a box to be drawn


@dataclass
class _Call:
    """Of a line, or of a C function. count: samples in it and below."""

    is_c: bool
    count: int = 0
    calls: dict[tuple[bool, str], _Call] = field(default_factory=dict)


def draw(stacks: Sequence[Stack], title: str) -> str:
    """The graph of these samples."""
    root = _tree(stacks)
    boxes = list(_boxes(root, 0, 0.0, (_WIDTH - 2 * _MARGIN) / max(1, root.count)))
    rows = 1 + max((depth for depth, *_ in boxes), default=0)
    height = _HEAD + rows * _ROW + _MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}">',
        "<style>text{font:11px monospace;fill:#000}rect{stroke:#fff;stroke-width:.5}"
        "g:hover rect{stroke:#000;stroke-width:1}</style>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{_MARGIN}" y="22" style="font-size:14px">{_text(title)}</text>',
    ]
    for depth, left, width, name, call in boxes:
        top = height - _MARGIN - (depth + 1) * _ROW
        part = f"{name}: {call.count} samples, {100 * call.count / root.count:.1f} %"
        room = int((width - 6) / _LETTER)
        label = name if len(name) <= room else name[: room - 2] + ".." if room > 4 else ""
        lines.append(
            f"<g><title>{_text(part)}</title>"
            f'<rect x="{left + _MARGIN:.2f}" y="{top}" width="{width:.2f}" height="{_ROW - 1}" '
            f'fill="{_colour(name, is_c=call.is_c)}"/>'
            f'<text x="{left + _MARGIN + 3:.2f}" y="{top + 13}">{_text(label)}</text></g>'
        )
    return "\n".join([*lines, "</svg>", ""])


def _tree(stacks: Sequence[Stack]) -> _Call:
    root = _Call(is_c=False)
    for stack in stacks:
        root.count += stack.count
        call = root
        for name in [*((False, frame.place) for frame in stack.frames), (True, stack.c)]:
            call = call.calls.setdefault(name, _Call(is_c=name[0]))
            call.count += stack.count
    return root


def _boxes(call: _Call, depth: int, left: float, scale: float) -> Iterator[tuple[int, float, float, str, _Call]]:
    """Depth, left border and width, name and call of all below, in the order of their names."""
    for (_, name), inner in sorted(call.calls.items()):
        width = inner.count * scale
        if width >= _THINNEST:
            yield depth, left, width, name, inner
            yield from _boxes(inner, depth + 1, left, scale)
        left += width


def _colour(name: str, *, is_c: bool) -> str:
    """The same for the same name; C is blue."""
    shade = zlib.crc32(name.encode("utf-8", "backslashreplace")) % 40
    return f"hsl({200 + shade // 2},60%,75%)" if is_c else f"hsl({15 + shade},85%,65%)"


def _text(text: str) -> str:
    return escape(shown(text).replace("\n", "^J").encode("utf-8", "backslashreplace").decode())
