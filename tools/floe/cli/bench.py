# SPDX-License-Identifier: MIT
"""`floe bench`: measure on this machine, contenders in turns, ratios first."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from floe.bench import experiments
from floe.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_SCRIPT_ERROR, FloeError, UsageError
from floe.shown import shown

if TYPE_CHECKING:
    from floe.bench.experiment import Options
    from floe.bench.report import Run
    from floe.bench.rounds import Progress, Result

_TABLE = "\n".join(f"  {name:<9}{text}" for name, text in experiments.EXPERIMENTS.items())


@click.command(
    short_help="Measure on this machine, contenders in turns.",
    help=f"""Measure on this machine and print ratios first: contenders take turns, round by round, so that what else
    runs here meets all alike, and how much that was is told.

    \b
    EXPERIMENT:
    {_TABLE.lstrip()}
      {experiments.ALL:<9}each of them

    All VMs, servers and networks are its own and gone afterwards, also after Ctrl-C, which keeps what was measured.""",
)
@click.argument("names", metavar="EXPERIMENT...", nargs=-1, required=True)
@click.option("--quick", is_flag=True, help="Few and short rounds: a minute at most for each, and its builds.")
@click.option("--accel", type=click.Choice(("auto", "kvm", "tcg")), default="auto",
              help="Compare VMs on this accelerator only.  [default: each of this machine]")  # fmt: skip
@click.option("--rounds", type=click.IntRange(1, 1000), metavar="N",
              help="So many rounds, as far as the time of an experiment goes.")  # fmt: skip
@click.option("--peer", "peers", type=click.Path(path_type=Path), metavar="FILE.toml", multiple=True,
              help="Compare with this, too: a peer of your own.")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="DIR",
              help="Write a report there: JSON, CSV, plots, one HTML page.")  # fmt: skip
def command(names: Sequence[str], quick: bool, accel: str, rounds: int | None, peers: tuple[Path, ...],
            output: Path | None) -> int:  # fmt: skip
    from floe.bench import guests
    from floe.bench.experiment import Options
    from floe.bench.report import Run
    from floe.bench.rounds import ended_by_signals
    from floe.bench.surroundings import describe

    chosen = experiments.chosen(names)
    experiments.check_peers(peers, chosen)
    folder = _folder(output)
    options = Options(quick=quick, accels=guests.usable_accels(accel), rounds=rounds or 0, peers=peers, say=_say)
    run = Run(shlex.join(["floe", *sys.argv[1:]]), quick, describe())
    with ended_by_signals():
        try:
            _measure(chosen, options, run, folder)
        except KeyboardInterrupt:
            run.interrupted = True
        try:  # files first: nobody may read what is printed any more
            if folder is not None:
                _write(run, folder)
        finally:
            for result in run.results:
                _print(result)
    for name, why in run.skipped.items():
        _say(f"{name} was not measured: {why}")
    if run.interrupted:
        _say("interrupted: this is what was measured until then")
        return EXIT_INTERRUPTED
    return EXIT_SCRIPT_ERROR if run.failed else EXIT_OK


def _say(text: str) -> None:
    """Nobody may read it any more: a measurement goes on, and its report is written."""
    with suppress(OSError):
        click.echo(shown(f"floe: {text}"), err=True)


def _folder(output: Path | None) -> Path | None:
    """Made before anything is measured. Raises UsageError, and NotFound without what draws plots."""
    if output is None:
        return None
    from floe.bench import plots

    plots.check()
    try:
        output.mkdir(parents=True, exist_ok=True)
        (output / _JSON).touch()
    except OSError as e:
        raise UsageError(f"-o {output}: {e.strerror}", hint="name a folder that can be written") from None
    return output


def _measure(names: list[str], options: Options, run: Run, folder: Path | None) -> None:
    """An experiment that cannot be prepared is told and left out; the others go on. What was measured is in the folder
    behind each."""
    from floe.bench import rounds

    for name in names:
        try:
            experiment = experiments.prepare(name, options)
        except (FloeError, *rounds.FAULTS) as e:
            if isinstance(e, FloeError) and len(names) == 1:
                raise
            run.skipped[name] = rounds.said_by(e)
            continue
        size = f"{len(experiment.contenders)} contenders, {experiment.rounds} rounds"
        _say(f"{name}: {size}, {experiment.seconds:.0f} s at most")
        for one in experiment.left_out:
            _say(f"{name}: without {one.name}: {one.why}")
        result = rounds.run(experiment, quick=options.quick, tell=_tell)
        run.results.append(result)
        if folder is not None:
            with suppress(OSError):  # the last one, with all of them, says why not
                _write_numbers(run, folder)
        if result.ended == "interrupted":
            raise KeyboardInterrupt


def _tell(progress: Progress) -> None:
    where = f"round {progress.round + 1}/{progress.rounds}"
    _say(f"{progress.experiment}: {where}: {progress.contender} ({progress.left_s:.0f} s left)")


_JSON = "bench.json"


def _write_numbers(run: Run, folder: Path) -> None:
    from floe.bench import report

    (folder / _JSON).write_text(report.as_json(run), encoding="utf-8")
    (folder / "bench.csv").write_text(report.as_csv(run), encoding="utf-8")


def _write(run: Run, folder: Path) -> None:
    from floe.bench import page, plots

    _write_numbers(run, folder)  # first: drawing takes its time
    drawn = {}
    for result in run.results:
        _say(f"{result.experiment.name}: drawing")
        drawn[result.experiment.name] = plots.of(result)
    for plot in (plot for of_one in drawn.values() for plot in of_one):
        (folder / f"{plot.name}.svg").write_text(plot.svg, encoding="utf-8")
        (folder / f"{plot.name}.png").write_bytes(plot.png)
    (folder / "bench.html").write_text(page.render(run, drawn), encoding="utf-8")
    _say(f"wrote {_JSON}, bench.csv, bench.html and plots to {folder}")


def _print(result: Result) -> None:
    """Ratios, figures, and what else there is to know."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from floe.bench import tables

    of = result.experiment
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(Text(f"\n{of.title}: {of.measures}"), soft_wrap=True)
    for found in tables.of(result):
        table = Table(title=Text(found.title), title_justify="left", box=None, padding=(0, 2, 0, 0))
        for number, name in enumerate(found.head):
            table.add_column(Text(name), justify="left" if number < 3 else "right")
        for cells in found.lines:
            table.add_row(*(Text(shown(cell)) for cell in cells))
        console.print(table)
    for line in tables.remarks(result):
        console.print(Text(shown(line)), soft_wrap=True)
