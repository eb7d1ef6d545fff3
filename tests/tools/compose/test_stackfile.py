# SPDX-License-Identifier: MIT
"""A stack's file as it is read: variables, profiles, names."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from floe.compose import stackfile, variables
from floe.errors import ConfigError, UsageError

FULL = """
name = "shop"
[vm.db]
app = "db.py"
memory = "${MEMORY:-16M}"
ready = { line = "serving", within = 30 }
[vm.web]
app = "web"
replicas = "${REPLICAS}"
ports = ["0:80"]
after = ["db"]
[vm.probe]
app = "probe.py"
profiles = ["debug"]
after = ["web"]
"""


ONE = '[vm.a]\napp = "a.py"\n'
X = '[network.x]\nsubnet = "10.9.0.0/24"'


def load(folder: Path, text: str = FULL, **environment: str) -> stackfile.StackFile:
    (folder / "compose.toml").write_text(text)
    return stackfile.load(folder, {"REPLICAS": "2", **environment})


def test_a_file_with_variables(tmp_path: Path) -> None:
    stack = load(tmp_path)
    assert (stack.name, list(stack.vms)) == ("shop", ["db", "web", "probe"])
    assert stack.vms["db"].memory == "16M"
    assert stack.vms["db"].ready == stackfile.Ready(line="serving", within=30)
    assert stack.vms["web"].replicas == 2
    assert load(tmp_path, MEMORY="64M").vms["db"].memory == "64M"


def test_networks(tmp_path: Path) -> None:
    two = f'{ONE}\n[vm.b]\napp = "b.py"\n'
    assert load(tmp_path, ONE).networks == {}
    stack = load(tmp_path, two)
    assert stack.networks == {"default": stackfile.Net(subnet="10.100.0.0/24")}
    assert stack.joined(stack.vms["a"]) == {"default": ""}
    stack = load(tmp_path, f'{two}networks = {{ x = "10.9.0.7" }}\n{X}')
    assert stack.networks["default"].subnet == "10.100.1.0/24"  # for the one that names none
    assert stack.joined(stack.vms["b"]) == {"x": "10.9.0.7"}


def test_profiles(tmp_path: Path) -> None:
    stack = load(tmp_path)
    assert list(stack.chosen(())) == ["db", "web"]
    assert list(stack.chosen(("debug",))) == ["db", "web", "probe"]
    with pytest.raises(UsageError, match=r"--profile other: no VM of .* has it") as told:
        stack.chosen(("other",))
    assert told.value.hint == "one of: debug"
    # What a chosen VM comes after is chosen too.
    other = '[vm.a]\napp = "a.py"\nprofiles = ["x"]\n[vm.b]\napp = "b.py"\nafter = ["a"]\n'
    assert list(load(tmp_path, other).chosen(())) == ["a", "b"]


def test_the_order_of_what_comes_after(tmp_path: Path) -> None:
    """Level by level, and each as in the file."""
    names = {"c": ["b", "b"], "b": ["a"], "y": [], "a": [], "x": ["a", "y"], "d": ["x", "c"]}
    text = "".join(f'[vm.{name}]\napp = "a.py"\nafter = {after}\n' for name, after in names.items())
    assert load(tmp_path, text).order() == ["y", "a", "b", "x", "c", "d"]
    with pytest.raises(ConfigError, match=r"vm\.c\.after: these wait for one another: c, b, d$"):
        load(tmp_path, text.replace("['a']", "['c']"))
    with pytest.raises(ConfigError, match=r"vm\.a\.after: these wait for one another: a$"):
        load(tmp_path, ONE + 'after = ["a"]')


def test_two_thousand_one_after_another(tmp_path: Path) -> None:
    """Written the other way round, and the last one brings the others, whose profile is not asked for."""
    names = [f"vm{number}" for number in range(2000)]
    tables = ['[vm.vm0]\napp = "a.py"\nprofiles = ["some"]\n']
    tables += [
        f'[vm.{name}]\napp = "a.py"\nafter = ["{before}"]\n' + 'profiles = ["some"]\n' * (name != names[-1])
        for before, name in pairwise(names)
    ]
    program = (
        "import sys\nfrom pathlib import Path\nfrom floe.compose import graph, stackfile\n"
        "stack = stackfile.load(Path(sys.argv[1]), {})\nprint(len(stack.chosen(())), *stack.order())\n"
        "graph.svg(stack, {}, {})\n"
    )
    (tmp_path / "compose.toml").write_text("".join(reversed(tables)))
    argv = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["2000", *names]


@pytest.mark.parametrize(
    ("folder", "name"),
    [("shop", "shop"), ("my shop (2)", "my-shop-2"), ("ÄÖ", "stack"), ("x" * 60, "x" * 20), ("a.b", "a-b")],
)
def test_the_name_of_a_stack_is_its_folder_s(tmp_path: Path, folder: str, name: str) -> None:
    (tmp_path / folder).mkdir()
    assert load(tmp_path / folder, '[vm.a]\napp = "a.py"\n').default_name == name


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ('name = "a b"\n[vm.a]\napp = "a.py"', "compose.toml:1: name: 'a b' is no name of a stack"),
        ('[vm."a.b"]\napp = "a.py"', "'a.b' is no name of a VM"),
        ('[vm.a]\nmemory = "1M"', "compose.toml:1: vm.a: app is missing"),
        ('[vm.a]\napp = "a.py"\nmemory = "1M"', "compose.toml:3: vm.a.memory: --memory 1M: less than 2M"),
        ('[vm.a]\napp = "a.py"\nports = ["80"]', "compose.toml:3: vm.a.ports: -p 80: not a port forward"),
        ('[vm.a]\napp = "a.py"\nenv = {"a-b" = "x"}', "vm.a.env.a-b: no name of an environment variable"),
        ('[vm.a]\napp = "a.py"\nready = {port = 70000}', "compose.toml:3: vm.a.ready.port: 70000 is no port"),
        ('[vm.a]\napp = "a.py"\nready = {prot = 1}', "vm.a.ready.prot: unknown key"),
        ('[vm.a]\napp = "a.py"\nready = {line = "x", within = 0}', "0 is no number of seconds"),
        (f'{ONE}allow = ["a.example"]', "compose.toml:3: vm.a.allow: --allow a.example: a port is missing"),
        (
            f'{ONE}allow = ["none"]\nnetworks = ["x"]\n{X}',
            "compose.toml:3: vm.a.allow: what it sends into the network x is not looked at",
        ),
        (f'{ONE}accel = "fast"', "compose.toml:3: vm.a.accel: 'fast' is none"),
        (f'{ONE}machine = "pdp11"', "compose.toml:3: vm.a.machine: 'pdp11' is none"),
        (f'{ONE}restart = "sometimes"', "compose.toml:3: vm.a.restart: --restart sometimes: no such policy"),
        ('[vm.a]\napp = "a.py"\nafter = ["b"]', "compose.toml:3: vm.a.after: there is no VM 'b'"),
        ('[vm.a]\napp = "a.py"\nreplicas = 65', "65 is not from 0 to 64"),
        (f"{ONE}children = 1025", "vm.a.children: 1025 is not from 0 to 1024"),
        ('[vm.a]\napp = "a.py"\nreplicas = 2\ndisks = ["d.img:size=1M"]', "2 replicas cannot write to one disk, d.img"),
        ('[vm.a]\napp = "a.py"\nnetworks = ["x"]', "compose.toml:3: vm.a.networks: there is no network 'x'"),
        ('[network.x]\nsubnet = "10.0.0.1/24"', "no VM is in it"),
        (
            f'{ONE}networks = ["x"]\n[network.x]\nsubnet = "10.0.0.1/24"',
            "network.x.subnet: 10.0.0.1/24 has host bits set",
        ),
        (f'{ONE}networks = ["x"]\n[network.x]\nsubnet = "10.0.0.0/30"', "10.0.0.0/30 is not from /8 to /29"),
        (f'{ONE}networks = ["x"]\n[network.x]\nbridge = "b"\ndns = "10.0.0.1"', "gateway and dns go with subnet where"),
        (f'{ONE}networks = ["x"]\n{X}\ngateway = "10.9.0.2"', "network.x.gateway: 10.9.0.2 is no VM's address"),
        (f'{ONE}networks = ["x"]\n{X}\ngateway = "10.9.0.2.1"', "Expected 4 octets in '10.9.0.2.1'"),
        (f'{ONE}networks = ["x"]\n[network.x]\nbridge = "a b"', "'a b' is no name of a bridge"),
        (f'{ONE}networks = ["x"]\n[network.x]\nsubnets = "a b"', "network.x.subnets: unknown key"),
        (f'{ONE}networks = {{x = "10.9.0.1"}}\n{X}', "10.9.0.1 is no address from 10.9.0.2 to 10.9.0.254"),
        (f'{ONE}networks = {{x = "me"}}\n{X}', "vm.a.networks: Expected 4 octets in 'me'"),
        (f'{ONE}replicas = 2\nnetworks = {{x = "10.9.0.5"}}\n{X}', "2 replicas cannot share the address 10.9.0.5"),
        (f'{ONE}networks = {{x = "10.9.0.5"}}\n[network.x]\nbridge = "b"', "no address of a network with a subnet"),
        (
            f'{ONE}networks = {{x = "dhcp"}}\nready = {{ port = 80 }}\n{X}',
            "ready.port: the VM is in no network in which",
        ),
        (f"{ONE}networks = []\nready = {{ port = 80 }}", "ready.port: the VM is in no network in which its address is"),
        (f'{ONE}outside = false\nports = ["0:80"]', "ports are forwarded to a VM with a way outside only"),
        ("vm = 3", "compose.toml:1: vm: expected `object`, got `int`"),
        ("", "no VM is in it"),
    ],
)
def test_what_is_wrong_is_told_with_its_key(tmp_path: Path, table: str, says: str) -> None:
    with pytest.raises(ConfigError) as told:
        load(tmp_path, table)
    assert says in told.value.message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("${A}", "a"),
        ("x${A}y${A}", "xaya"),
        ("${NOT:-d}", "d"),
        ("${NOT-d}", "d"),
        ("${EMPTY:-d}", "d"),
        ("${EMPTY-d}", ""),
        ("${EMPTY}", ""),
        ("${NOT:-}", ""),
        ("${A:?why}", "a"),
        ("$$A and $${A}", "$A and ${A}"),
    ],
)
def test_variables(text: str, value: str) -> None:
    assert variables.replaced(text, {"A": "a", "EMPTY": ""}) == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("${NOT}", "the variable NOT is not set"),
        ("${EMPTY:?give one}", "the variable EMPTY is empty: give one"),
        ("$A", "a $ that begins no variable"),
        ("${A", "a $ that begins no variable"),
        ("${}", "a $ that begins no variable"),
        ("${A+b}", "a $ that begins no variable"),
    ],
)
def test_what_is_no_variable(text: str, says: str) -> None:
    with pytest.raises(variables.VariableError, match=says.replace("$", r"\$")):
        variables.replaced(text, {"A": "a", "EMPTY": ""})
