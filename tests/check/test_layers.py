# SPDX-License-Identifier: MIT
"""Who may include what, who may know which hypervisor it is on (nobody from netdev.h
upward), and which folder a global name may come from (the prefix is the rank)."""

from __future__ import annotations

import ast
import re
import subprocess
import sys

import pytest

from tests.check.tree import REPO, matching, read, without_comments

STD = r"(std(arg|bool|def|int|io|lib|noreturn)|errno|string|limits|inttypes)\.h"

# The first pattern that a file matches says what its includes may match.
USES: list[tuple[str, str]] = [
    (r"port/monitor/.*", rf"{STD}|monitor\.h"),
    (r"port/boot/.*", rf"{STD}|boot\.h|(\.\./)?(monitor/monitor|hal/hal|app)\.h"),
    # boot.h: the memory map and the command line that boot/ took over from the hypervisor.
    (r"port/hal/.*", rf"{STD}|stdio\.h|hal\.h|internal\.h|(\.\./)?(monitor/monitor|boot/boot)\.h"),
    (r"port/xen/.*", rf"{STD}|stdio\.h|(\.\./)?(hal/(hal|internal)|monitor/monitor)\.h|(xen[a-z_]*|shared)\.h"),
    (
        r"port/libc/.*",
        rf"{STD}|(assert|ctype|math|stdlib|stdio|alloca|unistd|emmintrin|sys/types)\.h"
        r"|(\.\./)?(hal/hal|hal/internal|port)\.h|decimal\.h|libffi/src/dlmalloc\.c",
    ),
    (r"port/mpconfigport\.h|port/qstrdefsport\.h", rf"{STD}|alloca\.h|math\.h|(\.\./)?hal/hal\.h|libc/decimal\.h|port\.h"),
    (r"port/mphalport\.[ch]", rf"{STD}|py/.*|shared/.*|(hal/)?hal\.h|(mphal)?port\.h|dev/dev\.h"),
    (r"port/mod_vm\.c", r"py/.*|port\.h|hal/hal\.h|family\.h"),
    (
        r"port/(dev/)?[a-z_]+\.[ch]",
        rf"{STD}|stdio\.h|py/.*|shared/.*|extmod/.*|genhdr/.*|app\.h|(env|port|mod_floe)\.h|(dev/)?dev\.h|hal/(hal|internal)\.h"
        r"|boot/boot\.h|monitor/monitor\.h|xen/xen\.h|(netdev/)?netdev\.h|math\.h|libc/decimal\.h",
    ),
    (r"modules/netdev/.*", rf"{STD}|netdev\.h"),
    (r"modules/dns/dnsmsg\.[ch]", rf"{STD}|dnsmsg\.h"),
    (r"modules/dns/mod_dns\.c", rf"{STD}|py/.*|dnsmsg\.h|mod_(netaddr|socket)\.h"),
    (r"modules/blkdev/(blk[a-z]+|ramdisk)\.[ch]", rf"{STD}|hal\.h|blk[a-z]+\.h"),
    (r"modules/family/.*", rf"{STD}|sys/types\.h|hal\.h|family[a-z]*\.h"),
    (r"modules/handoff/handoff[a-z_]*\.[ch]", rf"{STD}|(hal|sock|handoff[a-z_]*|family[a-z]*)\.h"),
    (r"modules/handoff/mod_handoff\.c", rf"{STD}|py/.*|mod_socket\.h|handoff\.h|family[a-z]*\.h"),
    (r"modules/http/http[a-z]+\.[ch]", rf"{STD}|http[a-z]+\.h"),
    (r"modules/link/link\.[ch]", rf"{STD}|lwip/.*|(hal|net[a-z]+|link)\.h"),
    (r"modules/link/mod_link\.c", rf"{STD}|py/.*|(link|netsum)\.h"),
    (r"modules/packet/packetjoin\.[ch]", rf"{STD}|lwip/.*|(hal|net[a-z]+|packet[a-z]*)\.h"),
    (r"modules/packet/packet(over|vlan|bridgecard)\.[ch]", rf"{STD}|(hal|netglue|packet[a-z]*)\.h"),
    (r"modules/packet/packet[a-z]*\.[ch]", rf"{STD}|(hal|netdev|packet[a-z]*)\.h"),
    (r"modules/packet/mod_packetrules\.c", rf"{STD}|py/.*|packetrules\.h"),
    (r"modules/packet/mod_packet\.c", rf"{STD}|py/.*|lwip/ip_addr\.h|(mod_netaddr|netcfg|packet[a-z]*)\.h"),
    (r"modules/virtio/.*", rf"{STD}|hal\.h|(netdev|blkdev|familydev)\.h|virt[a-z_]*\.h"),
    (r"modules/xen/.*", rf"{STD}|hal\.h|(netdev|familydev)\.h|xen[a-z_/]*\.h|netfront[a-z_]*\.h|blk[a-z_]*\.h"),
    (
        r"modules/[a-z]+/mod_[a-z_]+\.[ch]",
        rf"{STD}|py/.*|extmod/.*|hal\.h|(net|blk)dev\.h|lwip/.*|mbedtls/.*|env\.h|http[a-z]+\.h|(net|sock|mod_|tls|resp|bits)[a-z_]*\.h",
    ),
    (
        r"modules/lwip/.*",
        rf"{STD}|sys/types\.h|lwip/.*|netif/.*|arch/.*|lwipopts\.h|netdev\.h|hal\.h|(net|sock|mod_)[a-z_]*\.h",
    ),
    (r"modules/resp/(resp|bits)\.[ch]", rf"{STD}|(resp|bits)\.h"),
    (r"modules/tls/.*", rf"{STD}|(time|sys/types)\.h|mbedtls/.*|psa/.*|hal\.h|tls[a-z_]*\.h"),
]  # fmt: skip

C_FILES = matching(r"(port|modules)/.*\.[chS]")


def includes(name: str) -> list[tuple[int, str]]:
    found = []
    for number, line in enumerate(read(name).splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*[<"]([^>"]+)[>"]', line)
        if match:
            found.append((number, match[1]))
    return found


def rule_of(name: str) -> str | None:
    return next((allowed for pattern, allowed in USES if re.fullmatch(pattern, name)), None)


@pytest.mark.parametrize("name", [n for n in C_FILES if not n.startswith("port/libc/include/")])
def test_includes(name: str) -> None:
    allowed = rule_of(name)
    assert allowed is not None, f"{name}: no layer has this place; see tests/check/test_layers.py"
    wrong = [
        f"{name}:{line}: may not include {what}" for line, what in includes(name) if not re.fullmatch(allowed, what)
    ]
    assert wrong == []


def test_the_rules_bite() -> None:
    """What the law exists to forbid is forbidden by these very patterns."""
    for name, header in [
        ("port/monitor/idt.c", "../hal/hal.h"),
        ("port/hal/clock.c", "py/runtime.h"),
        ("modules/netdev/netdev.c", "hal.h"),
        ("modules/virtio/virtio_net.c", "lwip/netif.h"),
        ("modules/virtio/virtio_net.c", "py/runtime.h"),
        ("modules/lwip/netglue.c", "py/runtime.h"),
        ("modules/lwip/netglue.c", "virtio.h"),
        ("modules/lwip/mod_socket.c", "virtqueue.h"),
        ("port/boot/boot.c", "../hal/internal.h"),
    ]:
        allowed = rule_of(name)
        assert allowed is not None
        assert not re.fullmatch(allowed, header), (name, header)


HYPERVISOR_WORDS = re.compile(
    r"\b(\w*(xen|kvm|qemu|tcg|pvh|virtio|virtq|vmexit|hypercall|firecracker)\w*|hal_cpu_hypervisor|HAL_HV_\w+|hal_pci\w*|hal_mmio\w*|hal_(in|out)\d+)\b",
    re.IGNORECASE,
)


@pytest.mark.parametrize(
    "name", matching(r"modules/(netdev|blkdev|dns|family|handoff|link|lwip|packet|resp|tls)/.*\.[ch]")
)
def test_nothing_from_netdev_upward_knows_the_hypervisor(name: str) -> None:
    code = without_comments(read(name))
    assert [m[0] for m in HYPERVISOR_WORDS.finditer(code)] == []


PREFIXES = [
    (r"port/boot/.*", r"boot_|__stack_chk_(guard|fail)$"),  # the last two are the compiler's names
    (r"port/monitor/.*", r"monitor_"),
    (r"port/hal/.*", r"hal_"),
    (r"port/xen/.*", r"xen_"),
    (r"port/mphalport\.c", r"mp_hal_|mp_"),
    (r"port/libc/.*", r""),  # the names of the C library
    (r"port/dev/.*", r"floe_"),
    (r"port/[a-z_]+\.c", r"floe_|mod_|mp_(?!hal_)|gc_|soft_timer_|main$|nlr_jump_fail$|get_fattime$"),
    (r"modules/netdev/.*", r"netdev_"),
    (r"modules/dns/(?!mod_).*", r"dnsmsg_"),
    (r"modules/blkdev/(?!mod_).*", r"blkdev_"),
    (r"modules/family/.*", r"family"),
    (r"modules/handoff/(?!mod_).*", r"handoff_"),
    (r"modules/http/(?!mod_).*", r"httpkey_|httppass_|httpscan_"),
    (r"modules/virtio/.*", r"virtio_|virtq_|vnet_|vblk_"),
    (r"modules/xen/.*", r"netfront_|blkfront_|xencons_|xenbus_|xenring_|xen_[a-z]+_driver$"),
    (r"modules/[a-z]+/mod_[a-z_]+\.c", r"mod_|floe_|netaddr_"),
    # The last two are lwIP's own hooks: sys_now and the timer it calls.
    (r"modules/lwip/.*", r"net[a-z]+_|sock_|sys_now$|tcp_timer_needed$"),
    (r"modules/link/(?!mod_).*", r"link_"),
    (r"modules/packet/(?!mod_).*", r"packet_"),
    (r"modules/resp/.*", r"resp_"),
    # The last three are what mbedTLS asks of a platform, under its own names.
    (r"modules/tls/.*", r"tls_|mbedtls_(ms_time|platform_gmtime_r|psa_external_get_random)$"),
]


@pytest.mark.parametrize("profile", ["sealed", "dev"])
def test_global_names_have_their_folder_s_prefix(profile: str) -> None:
    built = REPO / "build" / "port" / profile
    wrong = []
    checked = 0
    for source in matching(r"(port|modules)/.*\.[cS]"):
        path = (built / source).with_suffix(".o")
        if not path.exists():
            continue  # not in this profile: test_every_source_is_compiled sees to the rest
        allowed = next(prefix for pattern, prefix in PREFIXES if re.fullmatch(pattern, source))
        out = subprocess.run(
            ["nm", "-g", "--defined-only", str(path)], capture_output=True, text=True, check=True
        ).stdout
        for line in out.splitlines():
            checked += 1
            symbol = line.split()[-1]
            if not re.match(allowed, symbol):
                wrong.append(f"{source}: {symbol}")
    assert wrong == []
    assert checked > 100


# Two files of a folder may need each other only as the halves of one thing, split where it is read more easily.
HALVES = [
    {"modules/blkdev/blkdev", "modules/blkdev/blkorder"},  # a disk, and a disk seen in littlefs' order
    {"modules/tls/mod_tls", "modules/tls/mod_tlssock"},  # a context makes sockets, which raise its errors
    {"modules/virtio/virtio", "modules/virtio/transport_mmio", "modules/virtio/transport_pci"},
    {"modules/xen/blkfront", "modules/xen/blkfront_xs"},
]


def needs(profile: str) -> dict[str, set[str]]:
    """Which files of its own folder each file of modules/ calls, or takes a variable from, as its object says."""
    defined: dict[str, str] = {}
    undefined: dict[str, set[str]] = {}
    for source in matching(r"modules/.*\.c"):
        name = source.removesuffix(".c")
        path = REPO / "build" / "port" / profile / f"{name}.o"
        out = subprocess.run(["nm", "-g", str(path)], capture_output=True, text=True, check=True).stdout
        symbols = [line.split()[-2:] for line in out.splitlines()]
        undefined[name] = {symbol for kind, symbol in symbols if kind == "U"}
        defined |= {symbol: name for kind, symbol in symbols if kind != "U"}
    folder = {name: name.rpartition("/")[0] for name in undefined}
    found = {name: {defined[s] for s in wanted if s in defined} - {name} for name, wanted in undefined.items()}
    return {name: {other for other in others if folder[other] == folder[name]} for name, others in found.items()}


def reach(graph: dict[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    ahead = [start]
    while ahead:
        new = graph[ahead.pop()] - found
        found |= new
        ahead += new
    return found


def knots(graph: dict[str, set[str]]) -> list[set[str]]:
    below = {name: reach(graph, name) for name in graph}
    found = [{other for other in below[name] if name in below[other]} for name in graph]
    return [knot for i, knot in enumerate(found) if knot and knot not in found[:i]]


def test_no_two_files_of_a_module_need_each_other() -> None:
    assert [sorted(knot) for knot in knots(needs("sealed")) if knot not in HALVES] == []


def test_knots_are_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"a", "d"}}
    assert knots(graph) == [{"b", "c"}]
    needed = needs("sealed")
    assert "modules/lwip/netevent" in needed["modules/lwip/netmem"]
    assert needed["modules/lwip/netevent"] == set()


def test_parts_of_a_socket_stay_among_themselves() -> None:
    who = [name for name in C_FILES if "sock_internal.h" in [what for _, what in includes(name)]]
    assert [name for name in who if not re.fullmatch(r"modules/lwip/sock(_[a-z]+)?\.c", name)] == []


def test_every_source_is_compiled() -> None:
    compiled = {p for p in ("sealed", "dev") for p in (str(f) for f in (REPO / "build/port" / p).rglob("*.o"))}
    # Upstream's extmod/ includes the port's part of a module by the name that mpconfigport.h gives.
    included = set(re.findall(r'INCLUDEFILE\s+"([^"]+)"', read("port/mpconfigport.h")))
    missing = [
        name
        for name in matching(r"(port|modules)/.*\.[cS]")
        if name not in included and not any(path.endswith("/" + name.rsplit(".", 1)[0] + ".o") for path in compiled)
    ]
    assert missing == []


def test_mp_hal_names_stand_in_mphalport_only() -> None:
    wrong = []
    for name in C_FILES:
        if re.fullmatch(r"port/mphalport\.[ch]", name):
            continue
        for number, line in enumerate(without_comments(read(name)).splitlines(), 1):
            # A definition: a type before the name, at the start of a line. Calls are indented.
            if re.match(r"[a-z][\w\s*]*\bmp_hal_\w+\s*\([^;]*\{", line) and not line.startswith(" "):
                wrong.append(f"{name}:{number}")
    assert wrong == []


# ---- the host tool: imports go downward only ------------------------------------------------------

# Single modules, for everybody.
GROUND = {"confined", "errors", "hostmemory", "landlock", "refusals", "shown", "tomlfile", "units", "userfile"}
# Package of tools/floe: what it may import beside the ground, lowest first. Later lines may name earlier ones only.
ROOMS: dict[str, set[str]] = {
    "setup": set(),
    "spec": set(),
    "image": set(),
    "profile": set(),
    "stream": set(),
    "store": {"spec"},
    "hostnet": {"spec", "store"},
    "egress": set(),
    "build": {"image", "setup", "spec"},
    "bootdisk": {"build", "image", "spec"},
    "disk": {"spec"},
    "qemu": {"egress", "spec"},
    "lab": {"qemu", "setup", "spec", "store"},
    "oci": {"build", "image", "qemu", "spec", "stream"},
    "xenlab": {"lab"},
    "kvmlab": {"lab", "qemu", "spec"},
    "xen": {"build", "hostnet", "image", "lab", "spec", "xenlab"},
    "hypervisor": {"hostnet", "lab", "qemu", "spec", "xen", "xenlab"},
    "family": {"spec", "stream"},
    "snapshot": {"family", "spec"},
    "hosts": {"family", "spec", "stream"},
    "fleet": {"family", "hosts", "hypervisor", "image", "qemu", "snapshot", "spec", "stream"},
    "vm": {"build", "egress", "family", "hostnet", "hosts", "hypervisor", "image", "snapshot", "spec", "stream"},
    "agent": {"family", "hosts", "hypervisor", "spec", "stream", "vm"},
    "detached": {
        "egress",
        "family",
        "hostnet",
        "hosts",
        "hypervisor",
        "image",
        "snapshot",
        "spec",
        "store",
        "stream",
        "vm",
    },
    "compose": {
        "build",
        "detached",
        "fleet",
        "hostnet",
        "hosts",
        "hypervisor",
        "image",
        "spec",
        "store",
        "stream",
        "vm",
    },
    "device": {"detached", "store", "stream"},
    "serve": {"hostnet", "image", "spec", "stream", "vm"},
    "bench": {"build", "hypervisor", "image", "lab", "qemu", "setup", "spec", "stream", "vm"},
    "testing": {"build", "compose", "detached", "device", "hypervisor", "image", "spec", "store", "stream", "vm"},
}
ROOMS["cli"] = set(ROOMS)


def imported(name: str) -> set[str]:
    """Packages and single modules of floe that a module of floe imports, at any depth of its code."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(read(name))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("floe.")}
        elif isinstance(node, ast.ImportFrom) and node.module == "floe":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("floe."):
            found.add((node.module or "").split(".")[1])
    return found - {"__version__"}


def test_rooms_import_downward_only() -> None:
    before: set[str] = set()
    for room, below in ROOMS.items():
        assert below <= before, f"{room} may import {below - before}, which stand above it"
        before.add(room)
    folders = {name.split("/")[2] for name in matching(r"tools/floe/[a-z]+/.*\.py")}
    assert folders == set(ROOMS)


@pytest.mark.parametrize("name", matching(r"tools/floe/.*\.py"))
def test_imports_of_the_host_tool(name: str) -> None:
    room, slash, _ = name.removeprefix("tools/floe/").partition("/")
    if not slash:
        assert imported(name) <= GROUND, "what lies beside the packages knows none of them"
    else:
        assert imported(name) <= GROUND | ROOMS[room] | {room}


# Packages that know a hypervisor. `qemu` is also the library of QEMU's monitor.
DRIVERS = {"qemu", "oci", "xen", "xenlab", "kvmlab", "lab"}
# fleet: those that libvirt drives, by its names; bench: accelerators are compared.
KNOWING = DRIVERS | {"hypervisor", "cli", "fleet", "bench"}
HYPERVISORS = {"qemu", "xen", "kvm", "tcg"}  # names of hypervisors and accelerators, as options and data have them
DEFAULTS = "tools/floe/spec/vmspec.py"  # names those that hold where nobody names one, as DEFAULT_...


def hypervisors_known(code: str, *, defaults: bool = False) -> list[str]:
    """What code above the hypervisor protocol may not have: an import of a driver's package, a hypervisor's name."""
    tree = ast.parse(code)
    named = {
        id(node.value)
        for node in tree.body
        if defaults and isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).startswith("DEFAULT_")
    }
    found = []
    for node in ast.walk(tree):
        modules: list[str] = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif (
            isinstance(node, ast.Constant)
            and id(node) not in named
            and isinstance(node.value, str)
            and node.value in HYPERVISORS
        ):
            found.append(f"{node.lineno}: {node.value!r}")
        if any(module.removeprefix("floe.").split(".")[0] in DRIVERS for module in modules):
            found.append(f"{node.lineno}: {ast.unparse(node)}")
    return found


@pytest.mark.parametrize("name", [n for n in matching(r"tools/floe/.*\.py") if n.split("/")[2] not in KNOWING])
def test_nothing_above_the_hypervisor_protocol_knows_the_hypervisor(name: str) -> None:
    assert hypervisors_known(read(name), defaults=name == DEFAULTS) == []


@pytest.mark.parametrize("line", [
    "from floe.qemu.commandline import find_qemu", "from floe import xen", "import floe.lab.boot", "import qemu.qmp",
    "def plan():\n    from floe.xenlab import lab", 'xen = options.hypervisor == "xen"', 'accel in ("kvm", "tcg")',
    'name: str = "qemu"', 'DEFAULT = {"xen": 1}', 'match name:\n    case "qemu": pass',
])  # fmt: skip
def test_the_rule_of_hypervisors_bites(line: str) -> None:
    assert hypervisors_known(line) != []
    assert hypervisors_known(line, defaults=True) != []


def test_the_rule_of_hypervisors_lets_defaults_and_sentences_pass() -> None:
    assert hypervisors_known('DEFAULT_HYPERVISOR = "qemu"', defaults=True) == []
    assert hypervisors_known("from floe.spec import network\nhint = 'under Xen: --net user'") == []


@pytest.mark.parametrize("name", matching(r"tools/floe/[a-z]+/__init__\.py"))
def test_a_package_s_init_is_a_docstring(name: str) -> None:
    """Names stand in modules; floe.testing alone is imported by its users."""
    body = ast.parse(read(name)).body
    assert isinstance(body[0], ast.Expr)
    assert len(body) == 1 or name == "tools/floe/testing/__init__.py"


# The keeper and the process of a Xen domain are programs of their own: their standard error is their log. bench/scripts
# run in guests.
PRINTERS = r"tools/floe/((cli|setup|bench/scripts)/.*|detached/keeper\.py|xen/domain\.py)"


@pytest.mark.parametrize("name", [n for n in matching(r"tools/floe/.*\.py") if not re.fullmatch(PRINTERS, n)])
def test_only_the_command_prints(name: str) -> None:
    wrong = []
    for node in ast.walk(ast.parse(read(name))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
            wrong.append(f"{name}:{node.lineno}: print()")
        elif isinstance(node, ast.Import | ast.ImportFrom) and "click" in ast.unparse(node):
            wrong.append(f"{name}:{node.lineno}: {ast.unparse(node)}")
    assert wrong == []


def test_what_runs_before_setup_uses_the_standard_library_only() -> None:
    names = [*matching(r"tools/floe/setup/.*\.py"), "tools/floe/__init__.py"]
    for name in [*names, *(f"tools/floe/{module}.py" for module in sorted(GROUND - {"tomlfile", "userfile"}))]:
        for node in ast.walk(ast.parse(read(name))):
            tops = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            tops += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for top in tops:
                assert top.split(".")[0] in {*sys.stdlib_module_names, "floe"}, f"{name}: {top}"


def test_every_python_that_floe_starts_is_isolated() -> None:
    """Else it imports what lies in the folder that the command is used in."""
    found = 0
    for name in matching(r"tools/floe/.*\.py"):
        for node in ast.walk(ast.parse(read(name))):
            if not isinstance(node, ast.List | ast.Tuple) or len(node.elts) < 2:
                continue
            program, option = (ast.unparse(element) for element in node.elts[:2])
            if program == "sys.executable":
                found += 1
                assert option in ("'-I'", "'-P'"), f"{name}:{node.lineno}: {ast.unparse(node)}"
    assert found >= 5
