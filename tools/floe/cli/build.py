# SPDX-License-Identifier: MIT
"""`floe build`: freeze a script or an image folder into an ELF."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import click

from floe.bootdisk.formats import FORMATS, Format
from floe.build import pipeline, report
from floe.build.config import ImageConfig
from floe.errors import UsageError
from floe.image import elf
from floe.shown import shown


@click.command(short_help="Freeze a script or an image folder into an ELF.")
@click.argument("app", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The ELF to write; NAME.elf here if not given.")
@click.option("--dev", is_flag=True, help="With REPL, compiler and every module.")
@click.option("--variant", metavar="NAME", default="", help="As [variant.NAME] of image.toml says.")
@click.option("--tls", "variant", flag_value="tls", help="Short for --variant tls.")
@click.option("--linked", "how", flag_value="linked", help="Link it, with gcc and ld.  [default: where they are]")
@click.option("--ready", "how", flag_value="ready", help="Join it to a ready kernel, which takes no compiler.")
@click.option("--oci", type=click.Path(path_type=Path), metavar="PATH",
              help="Also write a container image, a folder or NAME.tar, in which QEMU runs the ELF.")  # fmt: skip
@click.option(
    "--disk",
    type=click.Choice(FORMATS),
    help="Also write a disk or CD that a BIOS and UEFI boot, beside the ELF, NAME.raw and so on.",
)
@click.option("--sign", "key", type=click.Path(path_type=Path), metavar="KEY",
              help="Sign it with this OpenSSH key, private or of the agent; the signature is OUTPUT.sig.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print what was built as JSON.")
def command(app: Path, output: Path | None, dev: bool, as_json: bool, **more: object) -> None:
    """Build APP, a .py file or a folder with image.toml, and print what the image holds."""
    wishes = {name: more.pop(name) for name in ("variant", "how")}
    profile: pipeline.Profile | None = "dev" if dev else None
    built = pipeline.build(app, profile=profile, say=progress, **wishes)  # type: ignore[arg-type]  # click typed each
    for warning in (*built.warnings, *built.notes):
        click.echo(shown(f"floe: warning: {warning}"), err=True)
    out = output or Path(f"{built.config.name}.elf")
    if out.is_dir():
        again = shlex.join(["floe", "build", str(app), "-o", f"{out / built.config.name}.elf"])
        raise UsageError(f"{out} is a folder", hint=again)
    if out.suffix == f".{more['disk']}":  # whoever asks for a disk may name it
        out = out.with_suffix(".elf")
    oci = more["oci"]
    if isinstance(oci, Path) and oci.resolve() == out.resolve():
        raise UsageError(f"{out} cannot be both the ELF and the container image", hint=f"-o {built.config.name}.elf")
    exported = pipeline.export(built, out)
    for path in _also(exported, built.config, **more):  # type: ignore[arg-type]  # click typed each
        progress(f"wrote {path}")
    click.echo(
        report.to_json(report.built_data(built, exported)) if as_json else shown(report.built_text(built, exported))
    )


def _also(
    made: elf.Image, settings: ImageConfig, *, key: Path | None, oci: Path | None, disk: Format | None
) -> Iterator[Path]:
    """What is written beside the ELF."""
    if key is not None:
        from floe.image import signature

        yield signature.sign(made.path, key)
    if oci is not None:
        from floe.oci import image

        yield image.write(made, settings, oci)
    if disk is not None:
        from floe.bootdisk import image as bootable

        yield bootable.write(made, settings, disk)


def progress(text: str) -> None:
    click.echo(shown(f"floe: {text}"), err=True)
