# SPDX-License-Identifier: MIT
"""`floe inspect`: what an ELF holds, from the ELF alone."""

from __future__ import annotations

from pathlib import Path

import click

from floe.build import report
from floe.errors import UsageError
from floe.image import elf
from floe.shown import shown


@click.command(short_help="Show what an ELF holds.")
@click.argument("file", metavar="ELF", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.option("--sbom", "as_sbom", is_flag=True, help="Print what it consists of as CycloneDX 1.6, JSON.")
def command(file: Path, as_json: bool, as_sbom: bool) -> None:
    """Check ELF and show its segments and their protection, modules, frozen files, data, versions, licences."""
    if as_json and as_sbom:
        raise UsageError("--json and --sbom: one of them", hint="floe inspect --sbom ELF")
    image = elf.read(file)
    if as_sbom:
        from floe.image import sbom

        click.echo(report.to_json(sbom.document(image)))
        return
    click.echo(report.to_json(report.image_data(image)) if as_json else shown(report.image_text(image)))
