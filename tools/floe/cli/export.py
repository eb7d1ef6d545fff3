# SPDX-License-Identifier: MIT
"""`floe export`: what tells an engine to run an app, printed."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection
from pathlib import Path

import click

from floe.build import config
from floe.cli import service
from floe.errors import NotFound, UsageError
from floe.fleet import domain
from floe.image import elf
from floe.oci import manifests
from floe.shown import shown
from floe.spec.vmspec import VmSpec
from floe.vm.plan import is_elf


@click.group(short_help="Print what tells an engine to run an app.")
def command() -> None:
    """Print what tells an engine to run an app: a manifest, a unit, a domain."""


def _of_container(name: str, render: Callable[..., str], text: str, *, brings_secrets: bool = True) -> None:
    @command.command(name, short_help=text, help=f"{text}\n\nAPP is a .py file or a folder with image.toml.")
    @click.argument("app", type=click.Path(path_type=Path))
    @click.option("--variant", metavar="NAME", default="", help="As [variant.NAME] of image.toml says.")
    @click.option("--image", "ref", metavar="REF", help="Where the engine finds it.  [default: localhost/NAME:VERSION]")
    @click.option("--kvm", is_flag=True, help="With the host's /dev/kvm.")
    def export(app: Path, variant: str, ref: str | None, kvm: bool) -> None:
        if is_elf(app):
            raise UsageError(f"{app} is an ELF, which does not tell its ports", hint=f"floe export {name} APP")
        settings = config.load(app, variant)
        if not brings_secrets:
            _note(settings.secrets)
        click.echo(render(settings, ref or manifests.reference(settings), kvm=kvm), nl=False)


def _note(secrets: Collection[str]) -> None:
    """What it wants and this does not bring."""
    if secrets:
        click.echo(shown(f"floe: note: nothing here brings the secrets {', '.join(sorted(secrets))}"), err=True)


_of_container("k8s", manifests.k8s, "Kubernetes' Deployment and Service of a container image.")
_of_container("compose", manifests.compose, "A compose file of a container image.")
_of_container("nomad", manifests.nomad, "A job of Nomad's, of a container image.", brings_secrets=False)


@command.command(short_help="A domain of libvirt's.")
@click.argument("image", metavar="ELF", type=click.Path(path_type=Path))
@click.option("--emulated", is_flag=True, help="Without KVM.")
def libvirt(image: Path, emulated: bool) -> None:
    """A domain of libvirt's with ELF as its kernel, on a q35, with a card on the network `default`."""
    made = elf.read(image)
    _note(made.content.get("secrets", ()))
    spec = VmSpec(
        image.absolute(),
        memory=int(made.content["memory"]),
        accel="tcg" if emulated else "kvm",
        name=str(made.content["name"]),
    )
    click.echo(domain.exported(spec, networked="virtio-net" in made.content["drivers"]), nl=False)


@command.command(short_help="A configuration for Xen's xl.")
@click.argument("app", type=click.Path(path_type=Path))
@click.option("--variant", metavar="NAME", default="", help="As [variant.NAME] of image.toml says.")
@click.option(
    "--kernel", type=click.Path(path_type=Path), metavar="ELF", help="What was built of it.  [default: NAME.elf]"
)
def xl(app: Path, variant: str, kernel: Path | None) -> None:
    """A configuration that `xl create` takes, with the ELF that was built of APP as its kernel.

    APP is a .py file or a folder with image.toml, which has the variables and arguments."""
    from floe.xen import cfgfile

    if is_elf(app):
        raise UsageError(
            f"{app} is an ELF, which does not tell its variables", hint=f"floe export xl APP --kernel {app}"
        )
    settings = config.load(app, variant)
    kernel = kernel or Path(f"{settings.name}.elf")
    if not kernel.exists():
        again = shlex.join(["floe", "build", str(app), *(["--variant", variant] if variant else []), "-o", str(kernel)])
        raise NotFound(f"no such file: {kernel}", hint=again)
    click.echo(cfgfile.render(elf.read(kernel), settings), nl=False)


command.add_command(service.command, "systemd")
