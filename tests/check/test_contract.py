# SPDX-License-Identifier: MIT
"""What the guest and the host tool both know is the same number or text in both languages. Each side is read as text: a
name that is gone fails here, as a value does that is another. Python's are found by name, in whatever module they are."""

from __future__ import annotations

import ast
import operator
import re
from typing import Any

import pytest

from tests.check.tree import matching, read, without_comments

OPERATORS: dict[type[ast.operator], Any] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.LShift: operator.lshift,
    ast.BitOr: operator.or_,
}


def definitions(*patterns: str) -> dict[str, list[ast.expr]]:
    """Values of the names that modules assign at their top, as they stand there."""
    found: dict[str, list[ast.expr]] = {}
    for path in matching(*patterns):
        for node in ast.parse(read(path)).body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
                found.setdefault(node.target.id, []).append(node.value)
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                found.setdefault(node.targets[0].id, []).append(node.value)
    return found


HOST = definitions(r"tools/floe/.*\.py")
DISKS = definitions(r"frozen/lib/_disks\.py")


def value(node: ast.expr, known: dict[str, list[ast.expr]]) -> Any:
    """What a constant expression is worth. Other names in it are looked up; whatever module they are from."""
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        return OPERATORS[type(node.op)](value(node.left, known), value(node.right, known))
    if isinstance(node, ast.Dict):
        return {value(k, known): value(v, known) for k, v in zip(node.keys, node.values, strict=True) if k is not None}
    if isinstance(node, ast.Name | ast.Attribute):
        return python(node.id if isinstance(node, ast.Name) else node.attr, known)
    return ast.literal_eval(node)


def python(name: str, known: dict[str, list[ast.expr]] = HOST) -> Any:
    places = known.get(name, [])
    assert len(places) == 1, f"{name} is assigned in {len(places)} modules, not in one"
    return value(places[0], known)


def c(path: str, name: str) -> Any:
    """A number that a C file gives a name, in an enum or by #define."""
    text = without_comments(read(path))
    found = re.findall(rf"(?:\b{name}\s*=\s*|#define\s+{name}\s+)([^,}}\n]+)", text)
    assert len(found) == 1, f"{path} has {len(found)} definitions of {name}, not one"
    return value(ast.parse(found[0].strip(), mode="eval").body, {})


def c_text(path: str, before: str) -> bytes:
    """The one string that stands in a C file behind these words."""
    found = re.findall(re.escape(before) + r'\s*"((?:\\.|[^"\\])*)"', read(path))
    assert len(found) == 1, f"{path} has {len(found)} strings behind {before!r}, not one"
    text = ast.literal_eval(f'b"{found[0]}"')
    assert isinstance(text, bytes)
    return text


@pytest.mark.parametrize(
    ("path", "name", "host"),
    [
        ("modules/netdev/netdev.h", "NETDEV_MAX", "MAX_CARDS"),
        ("modules/blkdev/blkdev.h", "BLKDEV_MAX", "MAX_DISKS"),
        ("modules/lwip/lwipopts.h", "DNS_MAX_SERVERS", "MAX_NAME_SERVERS"),
        ("port/hal/hal.h", "HAL_BLOB_MAX", "MAX_SECRET"),
        ("port/xen/control.c", "SEED_BYTES", "_SEED"),
        ("port/script.c", "CODE_OK", "EXIT_OK"),
        ("port/script.c", "CODE_EXCEPTION", "EXIT_SCRIPT_ERROR"),
        ("port/script.c", "CODE_NO_MEMORY", "EXIT_OUT_OF_MEMORY"),
        ("port/hal/internal.h", "HAL_PANIC_CODE", "EXIT_PANIC"),
    ],
)
def test_a_number_is_the_same_in_both_languages(path: str, name: str, host: str) -> None:
    assert c(path, name) == python(host)


def test_devices() -> None:
    assert c("modules/virtio/virtio.h", "VIRTIO_DEV_MAX") == max(python("_MAX_DEVICES").values())


def test_exit_codes_that_ask_for_another_start() -> None:
    codes = [c("port/hal/internal.h", name) for name in ("HAL_RESET_CODE", "HAL_WAKE_CODE")]
    assert list(python("RESETS")) == [code + 1 << 1 | 1 for code in codes]
    assert max(codes) < python("EXIT_TIMED_OUT")  # from which on they are floe's own


def test_exit_code_of_a_disk_that_is_not_mounted_is_a_script_s_last() -> None:
    assert c("port/script.c", "CODE_MAX") == python("_NOT_MOUNTED", DISKS)
    assert c("port/script.c", "CODE_MAX") + 1 == c("port/hal/internal.h", "HAL_PANIC_CODE")


def test_command_line() -> None:
    words = 64 * (python("MAX_CARDS") + 2)  # that QEMU adds
    assert python("_MAX_CMDLINE") + words == c("port/boot/boot.h", "BOOT_CMDLINE_MAX") - 1


def test_env_files_are_as_many_as_the_guest_reads_digits_for() -> None:
    digits = re.findall(r"char count\[(\d+)\];", read("port/envfile.c"))
    assert [10 ** (int(size) - 1) - 1 for size in digits] == [python("MAX_ENV_FILES")]


def test_keys() -> None:
    assert c_text("port/hal/console.c", "hal_console_stop =") == python("INTERRUPT")
    assert c_text("port/dev/repl.c", "hal_console_stop =") == python("_STOP_DEVICE")
    assert bytes([c("port/dev/repl.c", "INPUT_END")]) + python("END") == python("INPUT_END")


def test_words_that_a_swap_waits_for() -> None:
    words = python("_BEGINS").decode().removesuffix("\r\n")
    assert f'"{words}\\n"' in read("port/dev/repl.c")


def test_what_is_missing_or_twice_is_found() -> None:
    with pytest.raises(AssertionError, match="0 modules"):
        python("NO_SUCH_NAME")
    with pytest.raises(AssertionError, match="0 definitions"):
        c("port/hal/hal.h", "NO_SUCH_NAME")
    with pytest.raises(AssertionError, match="0 strings"):
        c_text("port/hal/hal.h", "no such words")
    with pytest.raises(AssertionError, match="2 modules"):
        python("A", definitions("tests/check/test_contract.py") | {"A": [ast.Constant(1), ast.Constant(2)]})


def test_what_a_ready_kernel_knows_of_its_application() -> None:
    """The members of floe_app_t, eight bytes each, in the order in which build/ready.py writes them."""
    struct = re.search(r"typedef struct \{(.*?)\} floe_app_t;", without_comments(read("port/app.h")), re.DOTALL)
    assert struct is not None
    members: list[str] = []
    for declared in struct[1].split(";"):
        if pointer := re.search(r"\(\*(\w+)\)", declared):
            members.append(pointer[1])
        elif declared.strip():
            first, *others = declared.split(",")
            members += [re.findall(r"\w+", first)[-1], *(re.findall(r"\w+", other)[0] for other in others)]
            assert "*" in first or "size_t" in first, f"{declared.strip()}: is it of eight bytes?"
    tree = ast.parse(read("tools/floe/build/ready.py"))
    app = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "_App")
    assert members == [n.target.id for n in app.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)]
