# SPDX-License-Identifier: MIT
"""floe.build.pipeline and what it uses: what is in the ELF, that the same inputs give the same bytes, and how fast."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given
from hypothesis import strategies as st

from floe.build import bytecode, link, pipeline, port_archive, report, sources
from floe.cli import main as cli
from floe.errors import BuildError
from floe.image import elf, names

REPO = Path(__file__).resolve().parents[2]


def app(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "main.py" if "image.toml" not in files else folder


def symbols(path: Path) -> set[str]:
    return set(addresses(path))


def addresses(path: Path) -> dict[str, int]:
    with path.open("rb") as file:
        return {symbol.name: symbol.value for symbol in names.read(ELFFile(file))}


def test_hello_holds_only_what_it_needs() -> None:
    built = pipeline.build(REPO / "images" / "hello")
    assert built.image.content["modules"] == ["__main__", "builtins", "sys"]
    assert built.image.content["drivers"] == [
        "xen-balloon",
        "virtio-console",
        "virtio-rng",
        "xen-console",
        "xen-control",
    ]
    held = symbols(built.path)
    for absent in (
        "mp_module_json",
        "mp_module_time",
        "tcp_input",
        "virtio_net_driver",
        "xen_netfront_driver",
        "mp_compile",
        "pyexec_event_repl_process_char",
    ):
        assert absent not in held
    assert {"boot_entry", "mp_module_sys", "virtio_console_driver"} <= held
    measured = port_archive.load("sealed").compiler.startswith("gcc 12.")
    assert built.image.size <= (263_000 if measured else 273_000)


def test_modules_follow_imports(tmp_path: Path) -> None:
    built = pipeline.build(app(tmp_path, {"main.py": "import json\nprint(json.dumps([]))\n"}))
    assert built.image.content["modules"] == ["__main__", "builtins", "json", "sys"]
    assert "mp_module_json" in symbols(built.path)
    assert "mp_module_re" not in symbols(built.path)


def test_sockets_bring_the_network(tmp_path: Path) -> None:
    built = pipeline.build(app(tmp_path, {"main.py": "import socket\n"}))
    assert {"network", "socket"} <= set(built.image.content["modules"])
    assert {"virtio-net", "xen-netfront"} <= set(built.image.content["drivers"])
    assert "lwip" in [u["name"] for u in built.image.content["upstream"]]
    assert "tcp_input" in symbols(built.path)


def test_asyncio_without_streams_brings_no_network(tmp_path: Path) -> None:
    text = "import asyncio\nasync def main():\n    await asyncio.sleep(0)\nasyncio.run(main())\n"
    content = pipeline.build(app(tmp_path, {"main.py": text})).image.content
    assert [f["name"] for f in content["frozen"]] == ["asyncio/__init__.py", "asyncio/core.py", "boot.py", "main.py"]
    assert "socket" not in content["modules"]


def test_eval_brings_the_compiler_without_the_repl(tmp_path: Path) -> None:
    built = pipeline.build(app(tmp_path, {"main.py": "print(eval('1 + 1'))\n"}))
    assert built.image.content["compiler"] is True
    assert built.image.content["profile"] == "sealed"
    held = symbols(built.path)
    assert "mp_compile" in held
    assert "pyexec_event_repl_process_char" not in held


def test_dev_holds_everything() -> None:
    built = pipeline.build(REPO / "images" / "hello", profile="dev")
    assert built.image.content["profile"] == "dev"
    assert set(built.image.content["modules"]) == set(port_archive.load("dev").modules)
    assert "asyncio/stream.py" in [f["name"] for f in built.image.content["frozen"]]
    assert "pyexec_event_repl_process_char" in symbols(built.path)


def test_same_inputs_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "main.py": "import one, json\nprint(open('/rom/a').read())\n",
        "one.py": "X = 2**70\n",
        "image.toml": 'name = "same"\n',
        "data/a": "hello",
        "data/b/c": "there",
    }
    first = pipeline.build(app(tmp_path / "here", files))
    raw = first.path.read_bytes()
    shutil.rmtree(first.path.parent)
    monkeypatch.chdir(tmp_path)
    second = pipeline.build(app(tmp_path / "some" / "where" / "else", files))
    assert not second.reused
    assert second.path.read_bytes() == raw
    assert str(tmp_path).encode() not in raw
    assert str(REPO).encode() not in raw


def test_bytecode_does_not_depend_on_the_place(tmp_path: Path) -> None:
    made = []
    for place in ("a", "b/c"):
        source = app(tmp_path / place, {"main.py": "def f(x):\n    return x + 2**80\n"})
        out = source.with_suffix(".mpy")
        argv = [str(port_archive.load("sealed").mpy_cross), "-march=x64", "-s", "main.py", "-o", str(out), str(source)]
        subprocess.run(argv, check=True)
        made.append(out.read_bytes())
    assert made[0] == made[1]


def test_any_change_gives_other_bytes(tmp_path: Path) -> None:
    files = {"main.py": "print(1)\n", "image.toml": 'name = "x"\n', "data/a": "1"}
    seen = {pipeline.build(app(tmp_path, files)).path}
    for change in (
        {"main.py": "print(2)\n"},
        {"image.toml": 'name = "x"\nversion = "2"\n'},
        {"data/a": "2"},
        {"data/b": "1"},
        {"image.toml": 'name = "x"\nmemory = "16M"\n'},
    ):
        files |= change
        built = pipeline.build(app(tmp_path, files))
        assert not built.reused or built.path not in seen
        seen.add(built.path)
    assert len(seen) == 6
    assert pipeline.build(tmp_path).reused


def test_old_contents_are_forgotten(tmp_path: Path) -> None:
    for n in range(pipeline.KEPT_BUILDS + 4):
        last = pipeline.build(app(tmp_path, {"main.py": f"print({n})\n", "image.toml": 'name = "forgets"'}))
    left = list((port_archive.BUILD / "apps").glob("forgets-*"))
    assert len(left) == pipeline.KEPT_BUILDS + 1
    assert last.path.parent in left


def test_what_is_used_again_is_not_forgotten(tmp_path: Path) -> None:
    def build(text: str) -> pipeline.Built:
        return pipeline.build(app(tmp_path, {"main.py": f"print({text!r})\n", "image.toml": 'name = "uses"'}))

    build("used")
    for _ in range(pipeline.KEPT_BUILDS + 1):
        assert not build(str(time.time_ns())).reused
        assert build("used").reused


@pytest.mark.alone
def test_a_build_takes_less_than_two_seconds(tmp_path: Path) -> None:
    """The fastest of up to ten; on a host with more work than processors what it would take without: processor time."""
    shutil.copytree(REPO / "images" / "web", tmp_path / "web")
    took: list[float] = []
    while not took or (min(took) >= 2.0 and len(took) < 10):
        (tmp_path / "web" / "image.toml").write_text(f'name = "timed"\nversion = "{time.time_ns()}"\n')
        before = sum(os.times()[:4])  # of this process and of those it has waited for
        built = pipeline.build(tmp_path / "web")
        assert not built.reused
        took.append(built.seconds)
        if os.getloadavg()[0] > (os.cpu_count() or 1):
            took.append(sum(os.times()[:4]) - before)
    assert min(took) < 2.0, took


def test_data_is_linked_in_place(tmp_path: Path) -> None:
    built = pipeline.build(
        app(tmp_path, {"main.py": "", "image.toml": 'name = "d"', "data/x.bin": "0123456789" * 1000})
    )
    assert built.image.content["data"] == {"x.bin": 10000}
    at = addresses(built.path)["floe_romfs"]
    assert at % 64 == 0  # a cache line
    holder = next(s for s in built.image.segments if s.address <= at < s.address + s.file_bytes)
    assert holder.protection == "r--"


def test_two_builds_at_once(tmp_path: Path) -> None:
    folder = app(tmp_path / "twice", {"main.py": f"print({time.time_ns()})\n", "image.toml": 'name = "twice"'})
    argv = [str(REPO / ".venv/bin/floe"), "build", str(folder), "-o"]
    running = [subprocess.Popen([*argv, str(tmp_path / f"{n}.elf")], stdout=subprocess.DEVNULL) for n in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert len({(tmp_path / f"{n}.elf").read_bytes() for n in range(3)}) == 1


def test_warning_for_a_script_named_like_a_module(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "json.py").write_text("import json\n")
    assert cli.run(["build", str(tmp_path / "json.py"), "-o", str(tmp_path / "x.elf")]) == 0
    assert "floe: warning: json.py beside the script takes the place of the module json" in capfd.readouterr().err


# ---- packages from PyPI: a wheel made here stands for one -----------------------------------------


def wheel(folder: Path, name: str, version: str, files: dict[str, str]) -> Path:
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    meta = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nLicense-Expression: MIT-0\n"
    with zipfile.ZipFile(path, "w") as z:
        for file, text in files.items():
            z.writestr(file, text)
        z.writestr(f"{info}/METADATA", meta)
        z.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        z.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Packages are looked for in this folder only, as pip's settings say; what floe fetched is forgotten afterwards."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    cached = port_archive.BUILD / "pypi"
    before = set(cached.iterdir()) if cached.exists() else set()
    yield folder
    for made in set(cached.iterdir()) - before if cached.exists() else ():
        shutil.rmtree(made)


def test_package(tmp_path: Path, index: Path) -> None:
    wheel(
        index,
        "floe_test_pack",
        "1.5",
        {"tp/__init__.py": "from .inner import x\n", "tp/inner.py": "x = 5\n", "tp/not_used.py": ""},
    )
    folder = app(tmp_path / "a", {"main.py": "import tp\n", "image.toml": '[packages]\nfloe_test_pack = "1.5"\n'})
    content = pipeline.build(folder).image.content
    assert [(f["name"], f["origin"]) for f in content["frozen"] if "tp" in f["name"]] == [
        ("tp/__init__.py", "floe_test_pack 1.5"),
        ("tp/inner.py", "floe_test_pack 1.5"),
    ]
    (package,) = content["packages"]
    assert (package["name"], package["version"], package["licence"]) == ("floe_test_pack", "1.5", "MIT-0")
    assert len(package["sha256"]) == 64


def test_package_with_wrong_hash(tmp_path: Path, index: Path) -> None:
    wheel(index, "floe_test_pack", "1.6", {"tp.py": ""})
    pin = '[packages]\nfloe_test_pack = { version = "1.6", sha256 = "%s" }\n' % ("0" * 64)
    with pytest.raises(BuildError) as raised:
        pipeline.build(app(tmp_path / "a", {"main.py": "import tp\n", "image.toml": pin}))
    assert "is not the pinned floe_test_pack 1.6" in raised.value.message
    assert "0" * 64 in raised.value.evidence


def test_package_that_is_not_there(tmp_path: Path, index: Path) -> None:
    folder = app(tmp_path / "a", {"main.py": "", "image.toml": '[packages]\nfloe_test_pack = "9.9"\n'})
    with pytest.raises(BuildError) as raised:
        pipeline.build(folder)
    assert raised.value.message == "cannot fetch floe_test_pack 9.9 from PyPI"
    assert raised.value.evidence == f"{index}: no file of floe-test-pack"
    assert not (port_archive.BUILD / "pypi" / "floe_test_pack-9.9").exists()


# ---- what people and programs read ------------------------------------------------------------


def test_inspect_json_is_what_build_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "h.elf"
    assert cli.run(["build", str(REPO / "images/hello"), "-o", str(out), "--json"]) == 0
    built = json.loads(capsys.readouterr().out)
    assert cli.run(["inspect", str(out), "--json"]) == 0
    inspected = json.loads(capsys.readouterr().out)
    assert {key: built[key] for key in inspected} == inspected
    assert set(built) - set(inspected) == {"objects", "reused", "seconds", "warnings"}
    assert inspected["elf_bytes"] == out.stat().st_size
    assert built["objects"]["frozen_content.o"] > 0


def test_inspect_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "h.elf"
    assert cli.run(["build", str(REPO / "images/hello"), "-o", str(out)]) == 0
    assert f"{out}: hello 1, sealed, " in capsys.readouterr().out
    assert cli.run(["inspect", str(out)]) == 0
    text = capsys.readouterr().out
    for words in (
        "segment   r-x",
        "frozen    main.py",
        "upstream  micropython 1.25.0, MIT",
        "drivers   xen-balloon, virtio-console",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (296872, "289.9 KiB"), (32 << 20, "32 MiB")]
)
def test_kib(size: int, text: str) -> None:
    assert report.kib(size) == text


MAP = """
Archive member included to satisfy reference by file (symbol)
 .text          0x0000000000000000       0x99 /lib/never.o

Linker script and memory map

.text           0x0000000000100000      0x130
 .text.short    0x0000000000100000       0x10 build/x/main.o
 .text.a_name_that_is_so_long_that_ld_breaks_the_line
                0x0000000000100010       0x20 build/port/libfloe.a(vm.o)
 *fill*         0x0000000000100030       0x10
.rodata         0x0000000000101000        0x8
 .rodata.str    0x0000000000101000        0x8 build/port/libfloe.a(vm.o)
.bss            0x0000000000102000     0x1000
 .bss.big       0x0000000000102000     0x1000 build/x/main.o
"""


def test_sizes_from_a_link_map() -> None:
    assert link.sizes(MAP) == {"vm.o": 0x28, "main.o": 0x10}
    # Strings that ld has merged: one file holds them, another one's are shown with their size, and take no room.
    strings = " .rodata.str    0x0000000000101008       0x27 build/x/main.o\n"
    behind = " .rodata.map    0x0000000000101008        0x8 x.o\n"
    assert link.sizes(MAP.replace(".bss  ", f"{strings}{behind}.bss  ", 1)) == {
        "vm.o": 0x28,
        "main.o": 0x10,
        "x.o": 8,
    }


def test_sizes_account_for_the_loaded_bytes() -> None:
    built = pipeline.build(REPO / "images" / "hello")
    loaded = sum(s.file_bytes for s in built.image.segments)
    assert 0.95 * loaded < sum(built.objects.values()) <= loaded


def test_module_definitions_keep_delegations_of_what_is_held() -> None:
    archive = port_archive.load("sealed")
    held = archive.module_definitions({"sys", "json"})
    assert "MP_REGISTER_MODULE(MP_QSTR_sys, mp_module_sys);" in held
    assert "MP_REGISTER_EXTENSIBLE_MODULE(MP_QSTR_json, mp_module_json);" in held
    assert "mp_module_time" not in held
    assert ("MP_REGISTER_MODULE_DELEGATION(mp_module_sys" in held) == (
        "MP_REGISTER_MODULE_DELEGATION(mp_module_sys" in (archive.folder / "genhdr/moduledefs.collected").read_text()
    )


def test_c_string() -> None:
    assert sources.c_string('a"\\\n\u00e9??=') == r'"a\042\134\012\303\251\077\077="'


def test_elf_is_executable_text_only_where_it_says(tmp_path: Path) -> None:
    read = elf.read(pipeline.build(REPO / "images" / "hello").path)
    assert not [s for s in read.segments if "w" in s.protection and "x" in s.protection]


@given(st.text(alphabet=" .0123456789abcdefx()*\n/Linker script and memory map", max_size=200))
def test_any_text_is_a_link_map_without_objects_or_with(text: str) -> None:
    for size in link.sizes("Linker script and memory map\n" + text).values():
        assert size > 0


def test_budget_is_for_the_compiler_it_was_measured_with(tmp_path: Path) -> None:
    mine = port_archive.load("sealed").compiler
    files = {"main.py": "print(1)\n", "image.toml": ""}
    for measured in ("", f'compiler = "{mine}"', f'compiler = "{mine.partition(".")[0]}"'):
        files["image.toml"] = f'[budget]\nelf = "1K"\n{measured}\n'
        with pytest.raises(BuildError, match="over the budget of 1024"):
            pipeline.build(app(tmp_path, files))
    for measured in ("gcc 1", f"{mine}.9"):
        files["image.toml"] = f'[budget]\nelf = "1K"\ncompiler = "{measured}"\n'
        built = pipeline.build(app(tmp_path, files))
        (note,) = built.notes
        assert f"over the budget of 1024, which is for {measured}: this is {mine}" in note
        assert built.warnings == ()  # who runs it has no use for that


def test_nothing_beside_the_script_runs_on_the_host(tmp_path: Path) -> None:
    """Whatever the working folder's modules are called, no Python that floe starts imports them."""
    spy = 'with open("RAN_ON_HOST", "w") as f:\n    f.write(__name__)\n'
    names = ("typing", "struct", "re", "math", "io", "os", "argparse", "makeqstrdata", "floe", "importlib", "pathlib")
    files = {f"{name}.py": spy for name in (*names, "sitecustomize", "usercustomize")}
    app(tmp_path, files | {"main.py": "from typing import Optional\nprint(1)\n"})
    floe = REPO / ".venv" / "bin" / "floe"
    done = subprocess.run(
        [floe, "build", "main.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "RAN_ON_HOST").exists()


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path) -> None:
    """As CPython has it; editors of Windows write one."""
    (tmp_path / "main.py").write_text("import other\nprint(other.x)\n", "utf-8-sig")
    (tmp_path / "other.py").write_text("x = 1\n", "utf-8-sig")
    (tmp_path / "image.toml").write_text('main = "main.py"\n', "utf-8-sig")
    content = pipeline.build(tmp_path).image.content
    assert {"main.py", "other.py"} <= {entry["name"] for entry in content["frozen"]}
    (tmp_path / "other.py").write_text("x = 1\ny = (\n", "utf-8-sig")
    with pytest.raises(BuildError, match=r"other\.py:2: "):
        pipeline.build(tmp_path)


def test_large_constant_expressions_are_left_to_run_time(tmp_path: Path) -> None:
    """Small ones are computed where they are compiled, as const() needs them."""
    path = tmp_path / "large.py"
    large = ["(1 << 200000) ** 7", "10 ** 10 ** 9", "1 << (1 << 40)", "3 ** 20000 * 3 ** 20000", "(-7) ** 123456789"]
    path.write_text(
        "from micropython import const\nA = const(10 ** 600 * 2 ** 64 - (1 << 4000))\nB = const(-1 << 62)\n"
        "def f(n):\n" + "".join(f"    if n == {n}: return {text}\n" for n, text in enumerate(large))
    )
    began = time.monotonic()
    assert bytecode.compile_file(port_archive.load("dev").mpy_cross, path, "large.py").stat().st_size < 30_000
    assert time.monotonic() - began < 10


def test_a_tool_without_an_end_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bytecode, "TOOL_TIMEOUT_S", 0.5)
    path = tmp_path / "large.py"
    path.write_text(f"x = {'9' * 1_000_000}\n")
    with pytest.raises(BuildError, match=r"large\.py: mpy-cross did not end within 0\.5 s") as caught:
        bytecode.compile_file(port_archive.load("dev").mpy_cross, path, "large.py")
    assert "a number of many thousand digits takes long" in caught.value.hint and "data/" in caught.value.hint
