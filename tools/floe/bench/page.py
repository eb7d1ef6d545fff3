# SPDX-License-Identifier: MIT
"""A run as one HTML file: the machine, ratios, tables, pictures, command lines and all numbers. It refers to nothing
outside of itself and runs no script, which its policy says to the browser; every text in it is escaped."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from html import escape

from floe.bench import report, tables
from floe.bench.plots import Plot
from floe.bench.report import Run
from floe.bench.rounds import Result
from floe.bench.tables import Table

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h1, h2 { line-height: 1.2 } h2 { margin-top: 3rem; border-top: 1px solid #ccc; padding-top: 1rem }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums }
caption { text-align: left; font-weight: bold } th { border-bottom: 1px solid #999 }
th, td { text-align: left; padding: .15rem .9rem .15rem 0; vertical-align: top }
tr:nth-child(even) td { background: #f6f6f6 } th.n, td.n { text-align: right; white-space: nowrap }
.better { color: #00664a; font-weight: bold } .worse { color: #a83c00; font-weight: bold } .unclear { color: #666 }
.scroll { overflow-x: auto } img { max-width: 100%; height: auto }
pre { overflow: auto; max-height: 30rem; background: #f6f6f6 }
"""
_WORDS = 3  # columns of a table before the numbers


def render(run: Run, plots: Mapping[str, list[Plot]]) -> str:
    """The file's text. plots: by the experiment's name."""
    title = "floe bench: " + ", ".join(result.experiment.name for result in run.results)
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        f"<p><code>{escape(run.command)}</code></p>",
    ]
    if run.interrupted:
        parts.append("<p><strong>Interrupted: this is what was measured until then.</strong></p>")
    parts += [f"<p>{escape(name)} was not measured: {escape(why)}</p>" for name, why in run.skipped.items()]
    parts.append(_pairs("Machine and versions", ((key, str(value)) for key, value in run.surroundings.items())))
    for result in run.results:
        parts += _experiment(result, plots.get(result.experiment.name, []))
    parts.append("<h2>All numbers</h2><details><summary>JSON, as in bench.json</summary>")
    parts.append(f"<pre>{escape(report.as_json(run))}</pre></details></body></html>\n")
    return "\n".join(parts)


def _experiment(result: Result, plots: list[Plot]) -> list[str]:
    experiment = result.experiment
    parts = [
        f'<h2 id="{escape(experiment.name)}">{escape(experiment.title)}</h2>',
        f"<p>{escape(experiment.measures)}</p>",
    ]
    parts += [_table(table) for table in tables.of(result)]
    parts.append("<ul>" + "".join(f"<li>{escape(line)}</li>" for line in tables.remarks(result)) + "</ul>")
    for plot in plots:
        data = base64.b64encode(plot.svg.encode()).decode()
        parts.append(f'<p><img alt="{escape(plot.title)}" src="data:image/svg+xml;base64,{data}"></p>')
    commands = [(one.name, one.command) for one in experiment.contenders if one.command]
    return [*parts, _pairs("Command lines", commands)] if commands else parts


def _pairs(title: str, pairs: Iterable[tuple[str, str]]) -> str:
    rows = "".join(f"<tr><td>{escape(key)}</td><td>{escape(value)}</td></tr>" for key, value in pairs)
    return f'<div class="scroll"><table><caption>{escape(title)}</caption>{rows}</table></div>'


def _table(table: Table) -> str:
    def cell(name: str, number: int, text: str) -> str:
        # What a ratio is, "better" or not, is the one cell with a colour.
        style = text if table.head[number] == "is" else "n" if number >= _WORDS else ""
        return f'<{name} class="{escape(style)}">{escape(text)}</{name}>'

    head = "".join(cell("th", number, text) for number, text in enumerate(table.head))
    body = "".join(
        f"<tr>{''.join(cell('td', number, text) for number, text in enumerate(line))}</tr>" for line in table.lines
    )
    return f'<div class="scroll"><table><caption>{escape(table.title)}</caption><tr>{head}</tr>{body}</table></div>'
