# SPDX-License-Identifier: MIT
"""What was frozen runs as it would from source: packages, constants, data, tracebacks, native code."""

import random
import re
import struct
import textwrap
from pathlib import Path

import pytest

from floe.build import pipeline, port_archive

_some = random.Random(1)
FLOATS = [
    *(
        1.7976931348623157e308,
        5e-324,
        2.2250738585072014e-308,
        0.30000000000000004,
        0.1,
        1e23,
        9007199254740993.0,
        1e22,
        -0.0,
    ),
    *struct.unpack("<200d", bytes(_some.randrange(1, 255) for _ in range(1600))),
    *(_some.uniform(-1000, 1000) for _ in range(100)),
]

FILES = {
    "ma,in.py": """
        import sys
        import pack.sub
        import pack_sub
        from pack import other as renamed
        from lazy_place import value
        import micropython
        import asyncio
        import floats

        async def late():
            raise OSError("in a task")

        try:
            asyncio.run(late())
        except OSError as e:
            sys.print_exception(e)

        @micropython.native
        def native(n):
            total = 0
            for i in range(n):
                total += i
            return total

        @micropython.viper
        def viper(n: int) -> int:
            total = 0
            for i in range(n):
                total += i
            return total

        print("package", pack.sub.NAME, renamed.NAME, __name__, pack.sub.__name__, pack_sub.NAME)
        print("ints", 0x7fffffff, 0x123456789abcdef, -(2**62), 2**62, 2**100, -(1 << 63))
        print("consts", 1.5, 1e300, 1e999, -1e999, 2j, "caf\\u00e9", b"\\x00\\xff", (1, 2.5, "t"), None, ...)
        print("native", native(1000), viper(1000))
        print("eval", eval("6 * 7"))
        print("value", value)
        print("rom", open("/rom/text.txt").read(), open("/rom/sub/bin", "rb").read())
        try:
            open("/rom/text.txt", "w")
        except OSError as e:
            print("rom is read-only", e.errno)
        pack.sub.fail()
    """,
    "floats.py": f"""
        import struct
        ALL = ({", ".join(map(repr, FLOATS))})
        print("floats", struct.pack("<%dd" % len(ALL), *ALL).hex())
        z = 0.30000000000000004 + 1.7976931348623157e308j
        print("complex", struct.pack("<dd", z.real, z.imag).hex())
        import math
        print("named", math.nan, math.inf, -math.inf)
    """,
    "pack/__init__.py": "",
    "pack/sub.py": """
        from .other import NAME as OTHER
        NAME = "sub of " + OTHER

        def fail():
            raise ValueError("on purpose")
    """,
    "pack/other.py": "NAME = 'other'",
    "pack_sub.py": "NAME = 'with an underscore'",
    "lazy_place.py": """
        try:
            from not_there import value
        except ImportError:
            value = "fallback"
    """,
    "data/text.txt": "from data",
    "image.toml": 'name = "frozen-test"\nmain = "ma,in.py"',
}


def write(folder: Path) -> Path:
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"))
    (folder / "data/sub").mkdir()
    (folder / "data/sub/bin").write_bytes(bytes(range(4)))
    return folder


@pytest.mark.parametrize("how", ["linked", "ready"])
def test_frozen_code_runs(boot, tmp_path, how):
    vm = boot(pipeline.build(write(tmp_path), how=how).path, deadline_s=30)
    assert vm.wait() == 1
    text = vm.console_text.replace("\r\n", "\n")
    last = len((tmp_path / "ma,in.py").read_text().splitlines())
    for line in (
        "package sub of other other __main__ pack.sub with an underscore",
        "ints 2147483647 81985529216486895 -4611686018427387904 4611686018427387904 "
        "1267650600228229401496703205376 -9223372036854775808",
        "consts 1.5 1e+300 inf -inf 2j caf\u00e9 b'\\x00\\xff' (1, 2.5, 't') None Ellipsis",
        "native 499500 499500",
        "eval 42",
        "value fallback",
        "rom from data b'\\x00\\x01\\x02\\x03'",
        "rom is read-only 30",
        f'File "ma,in.py", line {last}, in <module>',
        'File "pack/sub.py", line 5, in fail',
        "floats " + struct.pack(f"<{len(FLOATS)}d", *FLOATS).hex(),
        "complex " + struct.pack("<dd", 0.30000000000000004, 1.7976931348623157e308).hex(),
        "named nan inf -inf",
        "ValueError: on purpose",
    ):
        assert line in text, text
    assert "PANIC" not in text
    # The library's frames name the lines that they have in the sources.
    frames = re.findall(r'File "(asyncio/core.py)", line (\d+), in (\w+)', text)
    assert [name for _, _, name in frames] == ["run", "run_until_complete", "_run", "_run"], text
    for file, line, name in frames:
        source = (port_archive.MICROPYTHON / "extmod" / file).read_text().splitlines()[: int(line)]
        assert next(x for x in reversed(source) if re.match(r"(async )?def ", x)).startswith(f"def {name}("), (
            line,
            name,
        )
