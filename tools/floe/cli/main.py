# SPDX-License-Identifier: MIT
"""The command `floe`: names only. A verb is a module of this package whose `command` is a click command;
it is imported when it is asked for, so that `floe --version` costs no more than click itself."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import click

from floe import __version__
from floe.errors import EXIT_FLOE, EXIT_INTERRUPTED, DiskFull, FloeError

# verb: (module and attribute, what `floe --help` says), in the order of help.
VERBS: dict[str, tuple[str, str]] = {
    "new": ("floe.cli.new:command", "Make a folder with main.py, image.toml, README.md and a test."),
    "build": ("floe.cli.build:command", "Freeze a script or an image folder into an ELF."),
    "run": ("floe.cli.run:command", "Build if needed, boot, and show the console here."),
    "serve": ("floe.cli.serve:command", "Start VMs of an app when somebody connects."),
    "ps": ("floe.cli.vms:ps", "List detached VMs."),
    "top": ("floe.cli.top:command", "What detached VMs use, live."),
    "profile": ("floe.cli.profile:command", "Where a detached VM's time goes."),
    "trace": ("floe.cli.trace:command", "What a detached VM does, on a time line."),
    "logs": ("floe.cli.logs:command", "Print what a detached VM said."),
    "repl": ("floe.cli.device:repl", "The REPL of a detached VM on this terminal."),
    "exec": ("floe.cli.device:execute", "Run Python code in a detached VM."),
    "cp": ("floe.cli.device:cp", "Copy files from and to a detached VM."),
    "mount": ("floe.cli.device:mount", "Show a folder of this machine to a detached VM."),
    "swap": ("floe.cli.swap:command", "Replace a module in a running program."),
    "snapshot": ("floe.cli.snapshot:command", "Keep a running VM's state in a file."),
    "move": ("floe.cli.move:command", "Move a running VM to another host."),
    "start": ("floe.cli.vms:start", "Start detached VMs that have ended."),
    "stop": ("floe.cli.vms:stop", "End detached VMs."),
    "rm": ("floe.cli.vms:rm", "Forget detached VMs that have ended."),
    "compose": ("floe.cli.compose:command", "Several VMs as one stack, as a file describes them."),
    "scale": ("floe.cli.scale:command", "More replicas of a VM of a stack, or fewer."),
    "service": ("floe.cli.service:command", "Print a systemd unit for an app or a detached VM."),
    "export": ("floe.cli.export:command", "Print what tells another engine to run an app."),
    "disk": ("floe.cli.disk:command", "Make disks, look into them, copy files."),
    "host": ("floe.cli.host:command", "Name other hosts, on which VMs run."),
    "hosts": ("floe.cli.hosts:command", "Whether other hosts answer, and what they have."),
    "inspect": ("floe.cli.inspect:command", "Show what an ELF holds."),
    "lab": ("floe.cli.lab:command", "A Xen, an ordinary KVM, on a machine that has none."),
    "bench": ("floe.cli.bench:command", "Measure on this machine, contenders in turns."),
    "doctor": ("floe.cli.doctor:command", "Say what this machine has and lacks."),
}

# Verbs whose VMs are this machine's alone; with FLOE_HOST they would be taken for another's.
LOCAL = frozenset({"serve", "top", "profile", "trace", "mount", "swap", "compose", "service", "bench"})
HIDDEN = {"agent": "floe.cli.agent:command"}  # verbs for other programs


class LazyVerbs(click.Group):
    """A click group that imports a verb's module on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = VERBS[cmd_name][0] if cmd_name in VERBS else HIDDEN.get(cmd_name)
        if place is None:
            return None
        if cmd_name in LOCAL and (host := os.environ.get("FLOE_HOST")):
            problem = f"FLOE_HOST={host}: floe {cmd_name} is for VMs of this machine"
            raise FloeError(problem, hint=f"env -u FLOE_HOST floe {cmd_name} ...")
        module, attribute = place.split(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(name, text) for name, (_, text) in VERBS.items()])


@click.command(cls=LazyVerbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="floe", message="%(prog)s %(version)s")
def floe() -> None:
    """Freeze a Python script into a bootable image, and run it."""


def main(argv: list[str] | None = None) -> None:
    """Run the command and leave the process with its exit code (docs/exit-codes.md)."""
    _open_streams()
    sys.exit(run(argv))


def _open_streams() -> None:
    """Have three standard streams, also where the caller closed some: a file opened later would take their numbers, and
    what is started here would read or write it as its own."""
    for fd, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is this one
            setattr(sys, name, open(fd, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 lives as long as we do


def _folder(e: OSError) -> Path:
    """Where a write failed, as far as the error tells."""
    return Path(e.filename).absolute().parent if isinstance(e.filename, str) else Path.cwd()


def run(argv: list[str] | None = None) -> int:
    """Run one verb; every failure becomes text on standard error and an exit code."""
    try:
        result = floe.main(args=argv, prog_name="floe", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except FloeError as e:
        click.echo(e.render(), err=True)
        return e.exit_code
    except click.exceptions.NoArgsIsHelpError as e:
        click.echo(e.format_message(), err=True)
        return EXIT_FLOE
    except click.UsageError as e:
        verb = e.ctx.command_path if e.ctx else "floe"
        click.echo(FloeError(e.format_message(), hint=f"{verb} --help").render(), err=True)
        return EXIT_FLOE
    except click.ClickException as e:
        click.echo(FloeError(e.format_message()).render(), err=True)
        return EXIT_FLOE
    except (click.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output left; give the interpreter's own flush at exit a place to write to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FLOE
    except Exception as e:
        full = DiskFull.of(e, _folder(e)) if isinstance(e, OSError) else None
        if full is None and os.environ.get("FLOE_DEBUG"):
            raise
        again = "again with FLOE_DEBUG=1, and report what it prints"
        error = full or FloeError(f"internal error: {type(e).__name__}: {e}", hint=again)
        click.echo(error.render(), err=True)
        return error.exit_code
