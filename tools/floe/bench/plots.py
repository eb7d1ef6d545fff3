# SPDX-License-Identifier: MIT
"""A picture of each figure, as SVG and PNG: lines along an experiment's axis, or bars. matplotlib draws, without a
display and without its global state; it is loaded where it is needed."""

from __future__ import annotations

import importlib.util
import io
import shlex
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from floe.bench import summary
from floe.bench.experiment import Figure
from floe.bench.rounds import Result
from floe.bench.summary import Row
from floe.errors import NotFound

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Told apart by those who see few colours, too (Okabe and Ito); a line's mark and a bar's hatch are another way.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
_MARKS = "osD^v<>P"
_HATCHES = ("", "//", "..", "xx")
_WIDE_DECADE = 10  # an axis whose ends are that far apart is logarithmic
_WIDTH, _LINES_HEIGHT, _BAR_HEIGHT = 9.0, 4.5, 0.22  # inches
_DPI = 100
# Nothing of this day or run in the file, text stays text, and dollars in it are no formula.
_SETTINGS: Any = {
    "text.parse_math": False,
    "svg.hashsalt": "floe",
    "svg.fonttype": "none",
    "hatch.color": "white",  # seen on each colour
    "font.size": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.axisbelow": True,
}


@dataclass(frozen=True)
class Plot:
    """name: of the file, without its suffix."""

    name: str
    title: str
    svg: str
    png: bytes


def check() -> None:
    """Raises NotFound where there is no matplotlib."""
    if importlib.util.find_spec("matplotlib") is None:
        hint = f"{shlex.quote(sys.executable)} -m pip install 'matplotlib>=3.8'\nor measure without -o"
        raise NotFound("a report has plots, and matplotlib, which draws them, is not installed", hint=hint)


def of(result: Result) -> list[Plot]:
    """Of each figure that was measured: along the axis, and bars of what has no place on it."""
    found, rows = [], summary.rows(result)
    for figure in result.experiment.figures:
        mine = [row for row in rows if row.figure == figure]
        on_axis = [row for row in mine if row.x is not None and result.experiment.axis]
        beside = [row for row in mine if row not in on_axis]
        if on_axis:
            found.append(_plot(result, figure, on_axis, along=True))
        if beside:
            found.append(_plot(result, figure, beside, along=False, suffix="-bars" if on_axis else ""))
    return found


def _plot(result: Result, figure: Figure, rows: list[Row], *, along: bool, suffix: str = "") -> Plot:
    import matplotlib
    from matplotlib import figure as canvas

    experiment = result.experiment
    title = f"{experiment.title}: {figure.title}"
    height = _LINES_HEIGHT if along else 1.2 + _BAR_HEIGHT * len(rows)
    with matplotlib.rc_context(_SETTINGS):
        drawing = canvas.Figure(figsize=(_WIDTH, height), layout="constrained")
        axes = drawing.add_subplot()
        axes.set_title(title)
        names = [one.name for one in experiment.contenders if any(row.contender == one.name for row in rows)]
        better = "more is better" if figure.more_is_better else "less is better"
        label = f"{figure.unit or 'number'}, {better}"
        if along:
            axes.set_ylabel(label)
            _lines(axes, names, rows, experiment.axis)
        else:
            axes.set_xlabel(label)
            _bars(axes, names, rows)
        text, image = io.StringIO(), io.BytesIO()
        drawing.savefig(text, format="svg", metadata={"Date": None, "Title": title})
        drawing.savefig(image, format="png", dpi=_DPI)
    return Plot(f"{experiment.name}-{figure.key}{suffix}", title, text.getvalue(), image.getvalue())


def _reach(row: Row) -> tuple[float, float]:
    """How far the interval, or else the extremes, lie below and above the median."""
    found = row.summary
    low, high = (found.min, found.max) if found.low is None or found.high is None else (found.low, found.high)
    return max(0.0, found.median - low), max(0.0, high - found.median)


def style(number: int) -> tuple[str, str, str]:
    """Colour, mark and hatch of a contender by its place: no two lines of 64 look alike, and no two bars of 32."""
    again = number // len(_COLOURS)
    return _COLOURS[number % len(_COLOURS)], _MARKS[(number + again) % len(_MARKS)], _HATCHES[again % len(_HATCHES)]


def _lines(axes: Axes, names: list[str], rows: list[Row], label: str) -> None:
    for number, name in enumerate(names):
        mine = [row for row in rows if row.contender == name]
        colour, mark, _ = style(number)
        axes.errorbar(
            [row.x or 0.0 for row in mine], [row.summary.median for row in mine],
            yerr=list(zip(*map(_reach, mine), strict=True)), capsize=2, linewidth=1.5, markersize=4,
            color=colour, marker=mark,
        )  # fmt: skip
    axes.legend(names, fontsize=8)
    places = [row.x or 0.0 for row in rows]
    axes.set_xlabel(label)
    if 0 < min(places) * _WIDE_DECADE <= max(places):
        axes.set_xscale("log")
        # Named as they were offered: matplotlib's own labels there are formulas, and formulas are off.
        ticks = sorted(set(places))
        axes.set_xticks(ticks, [f"{tick:,g}" for tick in ticks])
        axes.minorticks_off()
    axes.set_ylim(bottom=0)


def _bars(axes: Axes, names: list[str], rows: list[Row]) -> None:
    """From above, in the order of the table; what is under one circumstance stands together."""
    places, ticks, place = {}, {}, 0.0
    for at in dict.fromkeys(row.at for row in rows):
        together = [row for row in rows if row.at == at]
        for row in together:
            places[row.at, row.contender] = place
            place += 1
        ticks[at] = place - (len(together) + 1) / 2
        place += 0.6
    alone = len(ticks) == 1  # then each bar has its contender's name
    for number, name in enumerate(names):
        mine = [row for row in rows if row.contender == name]
        colour, _, hatch = style(0 if alone else number)
        axes.barh(
            [places[row.at, name] for row in mine], [row.summary.median for row in mine],
            xerr=list(zip(*map(_reach, mine), strict=True)), height=0.8, capsize=2,
            color=colour, hatch=hatch,
        )  # fmt: skip
    if alone:
        axes.set_yticks([float(number) for number in range(len(names))], names)
        axes.set_ylabel(rows[0].at)
    else:
        axes.set_yticks(list(ticks.values()), list(ticks))
        axes.legend(names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(left=0)
