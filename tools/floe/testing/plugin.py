# SPDX-License-Identifier: MIT
"""A pytest plugin to test appliances in VMs: pip install 'floe[testing]', and every test may ask for `boot`.

    from floe.testing import Boot

    def test_hello(boot: Boot) -> None:
        vm = boot("hello.py")
        vm.expect("hello, world")
        assert vm.wait() == 0                  # text AND exit code
        assert "PANIC" not in vm.console_text  # AND nothing went wrong quietly

Options: --floe-accel auto|kvm|tcg|both (in the ini file: floe_accel), and in the ini file floe_apps: folders in which
boot() looks for an app by its name. docs/testing.md says the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypedDict, Unpack

import pytest
from pexpect import EOF, TIMEOUT

from floe.build import config, pipeline
from floe.errors import FloeError, GuestError, NotFound, UsageError, VmError
from floe.hypervisor import registry
from floe.image import elf
from floe.spec.ports import parse_forwards
from floe.spec.runoptions import RunOptions
from floe.spec.vmspec import DEFAULT_HYPERVISOR
from floe.testing.guest import Guest
from floe.testing.lan import Lan
from floe.vm import plan

__all__ = ["EOF", "TIMEOUT", "Boot", "BootOptions", "Guest", "GuestError"]

DEADLINE_S = 60.0
_LISTS = ("net", "allow", "ports", "disks", "args", "switches", "env_files")
_HYPERVISOR = registry.create(DEFAULT_HYPERVISOR)
_ACCELS = (*_HYPERVISOR.accels, "both")
_LIVE: list[Boot] = []  # what a report of a failure tells about
_SAID = pytest.StashKey[list[tuple[str, str]]]()  # sections for a failure after the VMs were ended


class BootOptions(TypedDict, total=False):
    """What `boot` takes beside the app: as the options of `floe run`, whose defaults hold."""

    memory: str  # "32M"
    machine: str  # "microvm", "q35", "pc"
    net: Sequence[str]  # values of --net
    allow: Sequence[str]  # values of --allow
    ports: Sequence[int | str]  # of the guest; "53/udp" for UDP. Those of image.toml are always there
    args: Sequence[str]
    env: Mapping[str, str]
    env_files: Sequence[str | Path]
    secrets: Mapping[str, str | Path]  # name: file
    child_secrets: Sequence[str]  # names
    uuid: str
    disks: Sequence[str]  # values of --disk
    variant: str  # of image.toml
    switches: Sequence[str]  # further words on the guest's command line
    hypervisor: str  # "qemu", "xen"
    children: int  # of a VM that forks, at a time
    capture: bool | str | Path  # packets in pcap format: True for a file in the test's folder


class Boot:
    """Boots VMs that share one event loop: a wait on one of them serves all. Leaving the block ends them.

    The fixture `boot` is one for each test; a fixture of a wider scope makes its own:

        @pytest.fixture(scope="module")
        def server():
            with Boot() as boot:
                yield boot("server.py", deadline_s=600)
    """

    def __init__(self, *, accel: str = "auto", apps: Sequence[Path] = (), folder: Path | None = None) -> None:
        """`apps`: folders in which apps are looked for by name, the working folder is the default. `folder`: for
        captured packets."""
        self.accel = accel
        self.guests: list[Guest] = []
        self.defaults: BootOptions = {}  # for all VMs that are booted from here on
        self._apps = tuple(apps) or (Path(),)
        self._folder = folder
        self._loop = asyncio.new_event_loop()
        self._stack = ExitStack()
        _LIVE.append(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __call__(
        self, app: str | Path, *, dev: bool = False, deadline_s: float = DEADLINE_S, **options: Unpack[BootOptions]
    ) -> Guest:
        """Build APP if needed and boot it: a .py file, a folder with image.toml, or an ELF.

        `deadline_s` is for all waits on this VM together. vm.ports[80] is the port of 127.0.0.1 that reaches the
        guest's port 80. Raises what `floe run` ends with 125 to 127 for, as FloeError."""
        __tracebackhide__ = True
        options = {**self.defaults, **options}
        _check_options(options)
        path = self._find(app)
        settings = None
        if plan.is_elf(path):
            made = elf.read(path)
        else:
            built = pipeline.build(path, profile="dev" if dev else None, variant=options.get("variant", ""))
            made, settings = built.image, built.config
        spec, _ = plan.assemble(made, settings, self._run_options(settings, options))
        guest = Guest(spec, self._loop, deadline_s)
        guest.start()
        self.guests.append(guest)
        self._stack.callback(guest.close)
        return guest

    def lan(self, *addresses: str) -> list[str]:
        """A network of its own for as many VMs as there are addresses ("10.9.0.1/24"): a value for `net=` each.

            one, two = boot.lan("10.9.0.1/24", "10.9.0.2/24")
            server, client = boot("server.py", net=[one]), boot("client.py", net=["user", two])

        Nothing but these VMs is on it."""
        lan = Lan()
        self._stack.callback(lan.close)
        return [f"connect:{lan.path},ip={address}" for address in addresses]

    def report(self) -> list[tuple[str, str]]:
        """Title and text for each VM: how it is, what it said, what was run in it."""
        sections = []
        for number, guest in enumerate(self.guests):
            if not self._loop.is_closed() and not self._loop.is_running():
                guest.pump(lambda: False, 0)  # what has arrived meanwhile
            sections.append((f"VM {number}", guest.report()))
        return sections

    def close(self) -> None:
        """End all VMs. May be called more than once."""
        if self in _LIVE:
            _LIVE.remove(self)
        try:
            self._stack.close()
        finally:
            self._loop.close()

    def _find(self, app: str | Path) -> Path:
        tried = [folder / app for folder in self._apps]  # an absolute app stays as it is
        for path in tried:
            if path.exists():
                return path
        raise NotFound(
            f"no app {app}", evidence="\n".join(f"looked for: {path.absolute()}" for path in dict.fromkeys(tried))
        )

    def _run_options(self, settings: config.ImageConfig | None, options: BootOptions) -> RunOptions:
        name = options.get("hypervisor", DEFAULT_HYPERVISOR)
        hypervisor = registry.create(name)
        listed = settings.ports if settings and hypervisor.forwards_own() else ()
        spreads = hypervisor.relays_forwards
        own = [replace(f, spread=f.spread and spreads) for text in listed for f in parse_forwards(text)]
        spread = {str(f.guest_port) for f in own if f.spread}  # boot(ports=[80]) asks for no other kind
        guest_ports = ({str(port) for port in options.get("ports", ())} - spread) | {f.guest_place() for f in own}
        return RunOptions(
            memory=options.get("memory"),
            forwards=tuple(f"0:{port}" for port in sorted(guest_ports)),
            cards=tuple(options.get("net", ())),
            allow=tuple(options.get("allow", ())),
            disks=tuple(options.get("disks", ())),
            env=tuple(f"{key}={value}" for key, value in options.get("env", {}).items()),
            env_files=tuple(map(str, options.get("env_files", ()))),
            secrets=tuple(f"{name}={file}" for name, file in options.get("secrets", {}).items()),
            child_secrets=tuple(options.get("child_secrets", ())),
            uuid=options.get("uuid", ""),
            args=tuple(options.get("args", ())),
            accel=self.accel if hypervisor.accels else RunOptions.accel,
            hypervisor=name,
            machine=options.get("machine", RunOptions.machine),
            switches=tuple(options.get("switches", ())),
            children=options.get("children"),
            capture=self._capture(options.get("capture", False)),
        )

    def _capture(self, wanted: bool | str | Path) -> Path | None:
        if wanted is True:
            if self._folder is None:
                raise UsageError("capture=True: this Boot has no folder", hint="capture=PATH, or Boot(folder=...)")
            return self._folder / f"vm{len(self.guests)}.pcap"
        return Path(wanted).absolute() if wanted else None


def _check_options(options: Mapping[str, object]) -> None:
    for name, value in options.items():
        if name not in BootOptions.__annotations__:
            known = ", ".join(("dev", "deadline_s", *BootOptions.__annotations__))
            raise UsageError(f"boot({name}=...): no such option", hint=f"one of {known}")
        if name in _LISTS and (isinstance(value, str) or not isinstance(value, Sequence)):
            raise UsageError(f"boot({name}={value!r}): a list is wanted", hint=f"{name}=[{value!r}]")


# ---- the plugin -----------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """--floe-accel, and the ini file's floe_accel and floe_apps."""
    group = parser.getgroup("floe", "VMs that tests boot")
    text = "Accelerator for VMs: auto, kvm, tcg, or both in turn."
    group.addoption("--floe-accel", choices=_ACCELS, default=None, help=text)
    parser.addini("floe_accel", text, default="auto")
    parser.addini("floe_apps", "Folders in which boot() looks for an app by name.", type="paths", default=[])


def pytest_configure(config: pytest.Config) -> None:
    """A wrong word in the ini file ends the run before it starts."""
    if (name := config.getini("floe_accel")) not in _ACCELS:
        raise pytest.UsageError(f"floe_accel = {name}: one of {', '.join(_ACCELS)}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """With `both`, each test that boots runs on KVM and on TCG."""
    if "floe_accel" in metafunc.fixturenames and _accel(metafunc.config) == "both":
        each = [name for name in _HYPERVISOR.accels if name != RunOptions.accel]
        metafunc.parametrize("floe_accel", each, indirect=True)


def _accel(config: pytest.Config) -> str:
    return str(config.getoption("--floe-accel") or config.getini("floe_accel"))


@pytest.fixture
def floe_accel(request: pytest.FixtureRequest) -> str:
    """The accelerator of this test's VMs, "kvm" or "tcg". With `both`, KVM is skipped where this host has none that
    works; asked for by name, its lack is an error."""
    name = getattr(request, "param", None)
    if name is None:
        return _HYPERVISOR.choose_accel(_accel(request.config))[0]
    try:
        return _HYPERVISOR.choose_accel(name)[0]
    except VmError as e:
        pytest.skip(f"SKIP: {e.message}")


@pytest.fixture
def boot(request: pytest.FixtureRequest, floe_accel: str, tmp_path: Path) -> Iterator[Boot]:
    """Boots VMs for this test and ends them after it: see floe.testing.Boot."""
    start = request.config.invocation_params.dir
    apps = [*request.config.getini("floe_apps"), start, request.config.rootpath]
    with Boot(accel=floe_accel, apps=apps, folder=tmp_path) as boots:
        yield boots
        boots.close()
        request.node.stash[_SAID] = boots.report()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """A failure tells what the VMs said, and what floe advises."""
    report = yield
    if report.failed:
        if call.excinfo is not None and isinstance(call.excinfo.value, FloeError):
            report.sections.append(("floe", call.excinfo.value.render()))
        sections = [section for boots in _LIVE for section in boots.report()]
        report.sections += sections or (item.stash.get(_SAID, []) if call.when == "teardown" else [])
    return report
