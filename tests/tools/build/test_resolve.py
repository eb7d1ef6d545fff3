# SPDX-License-Identifier: MIT
"""floe.build.resolve: the files and C modules that an image gets, on trees made for each rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from floe.build.bases import IMAGES
from floe.build.contents import base_root
from floe.build.imports import scan
from floe.build.port_archive import CModule
from floe.build.resolve import Closure, Frozen, Resolver, Root
from floe.errors import BuildError

C_MODULES = {
    name: CModule(name, f"mp_module_{name}", extensible)
    for name, extensible in [("sys", False), ("network", False), ("time", True), ("socket", True), ("json", True)]
}
LAZY = {
    "lazy/__init__.py": '_attrs = {"Now": "now", "Later": "later"}\ndef __getattr__(a): pass\n',
    "lazy/now.py": "import time\n",
    "lazy/later.py": "import socket\n",
}


def resolve(tmp_path: Path, files: dict[str, str], base: dict[str, str] | None = None) -> Closure:
    """Closure of main.py in a folder with `files`, over a base root with `base`."""
    roots = []
    for folder, content, origin in (("app", files, "app"), ("base", base or {}, "floe")):
        (tmp_path / folder).mkdir(exist_ok=True)
        for name, text in content.items():
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        roots.append(Root.of_folder(tmp_path / folder, folder, origin))
    resolver = Resolver(roots, C_MODULES)
    resolver.add(Frozen("main.py", tmp_path / "app" / "main.py", "app"))
    return resolver.closure


def test_a_module_that_may_lie_on_a_disk_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("import gadget\nfrom .. import beyond\n")
    resolver = Resolver([Root.of_folder(tmp_path, "app", "app")], C_MODULES, at_run_time=True)
    with pytest.raises(BuildError, match="no module named '\\.\\.'"):
        resolver.add(Frozen("main.py", tmp_path / "main.py", "app"))
    (warning,) = resolver.closure.warnings
    assert warning.endswith("/main.py:1: no module named 'gadget'; the VM looks for it at /")


def names(closure: Closure) -> list[str]:
    return sorted(closure.frozen)


def test_modules_and_packages(tmp_path: Path) -> None:
    closure = resolve(
        tmp_path,
        {
            "main.py": "import one\nfrom pack.sub import thing\nimport pack.other.deep\n",
            "one.py": "import time\n",
            "pack/__init__.py": "",
            "pack/sub.py": "from . import sibling\nfrom .sibling import x\n",
            "pack/sibling.py": "import sys\n",
            "pack/other/__init__.py": "",
            "pack/other/deep.py": "from ..sibling import y\n",
            "unused.py": "import nothing_like_this\n",
        },
    )
    assert names(closure) == [
        "main.py", "one.py", "pack/__init__.py", "pack/other/__init__.py", "pack/other/deep.py", "pack/sibling.py",
        "pack/sub.py",
    ]  # fmt: skip
    assert closure.modules == {"time", "sys"}
    assert closure.warnings == []


def test_from_import_of_attribute_or_submodule(tmp_path: Path) -> None:
    closure = resolve(
        tmp_path,
        {"main.py": "from p import attribute, module\n", "p/__init__.py": "attribute = 1\n", "p/module.py": ""},
    )
    assert names(closure) == ["main.py", "p/__init__.py", "p/module.py"]


def test_namespace_package(tmp_path: Path) -> None:
    assert names(resolve(tmp_path, {"main.py": "import ns.mod\n", "ns/mod.py": ""})) == ["main.py", "ns/mod.py"]


def test_import_cycle_ends(tmp_path: Path) -> None:
    closure = resolve(tmp_path, {"main.py": "import a", "a.py": "import b", "b.py": "import a\nimport main"})
    assert names(closure) == ["a.py", "b.py", "main.py"]


def test_own_module_comes_before_base_and_extensible(tmp_path: Path) -> None:
    closure = resolve(
        tmp_path, {"main.py": "import json\nimport lib", "json.py": "", "lib.py": ""}, {"lib.py": "import x"}
    )
    assert {target: f.origin for target, f in closure.frozen.items()} == {
        "main.py": "app",
        "json.py": "app",
        "lib.py": "app",
    }
    assert closure.modules == set()
    assert closure.warnings == [
        "json.py beside the script takes the place of the module json (a built-in module)",
        "lib.py beside the script takes the place of the module lib (base)",
    ]


def test_fixed_built_in_comes_before_own_module(tmp_path: Path) -> None:
    closure = resolve(tmp_path, {"main.py": "import network", "network.py": "raise SystemExit"})
    assert names(closure) == ["main.py"]
    assert closure.modules == {"network"}
    assert closure.warnings == [
        "network.py beside the script is never imported: the built-in module network comes first"
    ]


def test_u_prefix_is_the_built_in(tmp_path: Path) -> None:
    closure = resolve(tmp_path, {"main.py": "import utime\n", "time.py": ""})
    assert closure.modules == {"time"}
    assert names(closure) == ["main.py"]


def test_u_prefix_of_a_fixed_module(tmp_path: Path) -> None:
    """usys alone of them is known to MicroPython (py/objmodule.c)."""
    assert resolve(tmp_path, {"main.py": "import usys\n"}).modules == {"sys"}
    with pytest.raises(BuildError, match="no module named 'unetwork'"):
        resolve(tmp_path, {"main.py": "import unetwork\n"})


def test_folder_without_python_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "app/json").mkdir(parents=True)
    (tmp_path / "app/json/x.txt").write_text("")
    assert resolve(tmp_path, {"main.py": "import json\n"}).modules == {"json"}


def test_guarded_miss_and_its_fallback(tmp_path: Path) -> None:
    closure = resolve(
        tmp_path, {"main.py": "try:\n    import fast\nexcept ImportError:\n    import slow as fast\n", "slow.py": ""}
    )
    assert names(closure) == ["main.py", "slow.py"]
    assert closure.warnings == []


def test_fallback_of_a_hit_need_not_exist(tmp_path: Path) -> None:
    closure = resolve(tmp_path, {"main.py": "try:\n    import json\nexcept ImportError:\n    import simplejson\n"})
    assert closure.modules == {"json"}
    assert closure.warnings == []


def test_miss_in_a_function_warns(tmp_path: Path) -> None:
    closure = resolve(tmp_path, {"main.py": "def f():\n    import threading\n"})
    assert len(closure.warnings) == 1
    assert "main.py:2: no module named 'threading'; it fails if the script gets there" in closure.warnings[0]


def test_computed_import_warns(tmp_path: Path) -> None:
    closure = resolve(tmp_path, {"main.py": "for n in 'ab':\n    __import__(n)\n"})
    assert "main.py:2: the imported name is computed" in closure.warnings[0]
    assert "`imports` in image.toml" in closure.warnings[0]


def test_lazy_package_brings_what_is_named(tmp_path: Path) -> None:
    closure = resolve(tmp_path, {"main.py": "import lazy\nlazy.Now()\n"}, LAZY)
    assert names(closure) == ["lazy/__init__.py", "lazy/now.py", "main.py"]
    assert closure.modules == {"time"}


@pytest.mark.parametrize(
    "text",
    ["from lazy import Later", "import lazy as l\nl.Later", "import lazy\nf(lazy).Later", "import lazy\nx = lazy"],
)
def test_lazy_package_by_every_spelling(tmp_path: Path, text: str) -> None:
    assert "lazy/later.py" in resolve(tmp_path, {"main.py": text}, LAZY).frozen


def test_what_follows_an_import_that_fails_names_nothing(tmp_path: Path) -> None:
    text = "import lazy\ntry:\n    import {}\n    def f():\n        lazy.Later()\nexcept ImportError:\n    lazy.Now()\n"
    closure = resolve(tmp_path, {"main.py": text.format("nowhere")}, LAZY)
    assert names(closure) == ["lazy/__init__.py", "lazy/now.py", "main.py"]
    assert "lazy/later.py" in resolve(tmp_path, {"main.py": text.format("sys")}, LAZY).frozen
    assert "lazy/later.py" in resolve(tmp_path, {"main.py": text.format("nowhere") + "lazy.Later\n"}, LAZY).frozen


def test_unused_lazy_package_brings_only_itself(tmp_path: Path) -> None:
    assert names(resolve(tmp_path, {"main.py": "import lazy\n"}, LAZY)) == ["lazy/__init__.py", "main.py"]


def test_relative_import_beyond_the_top(tmp_path: Path) -> None:
    with pytest.raises(BuildError) as raised:
        resolve(tmp_path, {"main.py": "import p.m", "p/__init__.py": "", "p/m.py": "from ...x import y"})
    assert "no module named '...x'" in raised.value.message
    assert "relative imports work inside a package" in raised.value.hint


def test_compiler_and_native_are_reported_with_the_file(tmp_path: Path) -> None:
    closure = resolve(
        tmp_path, {"main.py": "import a\nexec('1')\n", "a.py": "@micropython.native\ndef f(): return eval('2')\n"}
    )
    assert sorted(closure.compiler) == ["a.py: eval", "main.py: exec"]
    assert closure.native == ["a.py"]


def test_required_names(tmp_path: Path) -> None:
    (tmp_path / "plug.py").write_text("import time\n")
    resolver = Resolver([Root.of_folder(tmp_path, "app", "app")], C_MODULES)
    resolver.require(["plug", "socket"], "image.toml", 3)
    assert names(resolver.closure) == ["plug.py"]
    assert resolver.closure.modules == {"time", "socket"}
    with pytest.raises(BuildError, match=r"image.toml:3: no module named 'gone'"):
        resolver.require(["gone"], "image.toml", 3)


def test_a_guarded_body_ends_at_its_first_miss(tmp_path: Path) -> None:
    """What stands behind it is never imported; what may not be reached does not end it."""
    files = {
        "main.py": """
try:
    from nothing import x
    import one
except ImportError:
    import two
try:
    if x:
        import nothing
    def f():
        import nothing
    import three
except ImportError:
    import two
""",
        "one.py": "",
        "two.py": "",
        "three.py": "",
    }
    assert names(resolve(tmp_path, files)) == ["main.py", "three.py", "two.py"]


def test_what_replaces_an_import_that_never_fails_is_left_out(tmp_path: Path) -> None:
    text = "try:\n    from sys import print_exception{}\nexcept ImportError:\n    import other\n"
    files = {"main.py": text.format(""), "other.py": ""}
    assert names(resolve(tmp_path, files)) == ["main.py"]
    assert names(resolve(tmp_path, {**files, "main.py": text.format(", gadget")})) == ["main.py", "other.py"]


EXTENSION = {
    "json/__init__.py": '_attrs = {"More": "more", "deep": "deep"}\nimport ujson\ndef __getattr__(a): pass\n',
    "json/more.py": "import socket\n",
    "json/deep.py": "",
}


@pytest.mark.parametrize(
    ("text", "frozen"),
    [
        ("import json\njson.dumps(1)\n", []),
        ("from json import dumps, nothing\n", []),
        ("from json import More\n", ["__init__", "more"]),
        ("import json as j\nj.More\n", ["__init__", "more"]),
        ("import json\nprint(json)\n", ["__init__", "deep", "more"]),
        ("import json\njson.json()\n", []),
        ("import json.deep\n", ["__init__", "deep"]),
        ("from json import deep\n", ["__init__", "deep"]),
    ],
)
def test_a_package_over_a_c_module_is_frozen_where_more_is_named(tmp_path: Path, text: str, frozen: list[str]) -> None:
    closure = resolve(tmp_path, {"main.py": text}, EXTENSION)
    assert names(closure) == [*(f"json/{name}.py" for name in frozen), "main.py"]
    assert closure.modules == {"json", *(["socket"] if "more" in frozen else [])}


@pytest.mark.parametrize(
    ("text", "frozen"),
    [
        ("print(x.json())\n", False),
        ("print(x.y().json()['a'], x.json['a'], x.json.get('a'))\n", False),
        ("x.json = 1\ndel x.json\n", False),
        ("def f(request):\n    return request.json\n", False),
        ("import holder\nholder.g()\ndef f(request):\n    return request.json\n", False),
        ("import holder\nf(holder.json)\n", True),
        ("import holder as h\nj = h.json\n", True),
        ("import holder\ndef f(x):\n    return x.json\nf(holder)\n", True),
        ("import far\ndef f(x):\n    return x.json\nf(far.holder)\n", True),
        ("import sys\nimport holder\nx = sys.modules['holder']\ny = x.json\n", True),
        ("import holder\ny = __import__(name).json\n", True),
        ("x.json()\nprint(json)\n", True),
        ("x.json(json)\n", True),
        ("x.y[json]\n", True),
    ],
)
def test_what_only_has_the_name_of_a_module(tmp_path: Path, text: str, frozen: bool) -> None:
    """An attribute of a module's name is no reason to freeze what that module has, unless it can be the module."""
    files = {"main.py": f"import json\n{text}", "holder.py": "import json\n", "far.py": "import holder\n"}
    assert ("json/more.py" in resolve(tmp_path, files, EXTENSION).frozen) is frozen


RECORDS = {
    "collections/__init__.py": '_attrs = {"deque": "q", "namedtuple": "r", "OrderedDict": "o"}\ndef __getattr__(a): pass\n'
}


@pytest.mark.parametrize(
    ("text", "frozen"),
    [
        ("q = deque((), 8)\nq.popleft()\n", []),
        ("q = deque((), 8, 1)\nP = namedtuple('P', 'x y')\n", []),
        ("q = deque()\n", ["q"]),
        ("q = deque(*args)\n", ["q"]),
        ("q = deque([], maxlen=8)\n", ["q"]),
        ("q = deque((), 8)\nq.rotate(1)\n", ["q"]),
        ("isinstance(x, deque)\n", ["q"]),
        ("P = namedtuple('P', 'x y', defaults=(1,))\n", ["r"]),
        ("P = namedtuple('P', 'x y')\nprint(P(1, 2)._asdict())\n", ["r"]),
        ("from collections import deque as d\nd((), 8)\n", ["q"]),
        ("d = OrderedDict(a=1)\nd.pop('a')\n", []),
        ("d = OrderedDict(a=1)\nd.move_to_end('a')\n", ["o"]),
    ],
)
def test_where_micropython_s_own_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, frozen: list[str]
) -> None:
    monkeypatch.setitem(C_MODULES, "collections", CModule("collections", "mp_module_collections", True))
    base = {**RECORDS, "collections/q.py": "", "collections/r.py": "", "collections/o.py": ""}
    head = "from collections import OrderedDict, deque, namedtuple\n"
    made = names(resolve(tmp_path, {"main.py": (head if "as d" not in text else "") + text}, base))
    assert made == [*(f"collections/{name}.py" for name in (["__init__", *frozen] if frozen else [])), "main.py"]


@pytest.mark.parametrize(
    ("text", "frozen"),
    [
        ("json.dumps(x, separators=(1, 2))\njson.loads(x)\nprint(default=1, cls=2)\n", []),
        ("json.dumps(x, indent=2)\n", ["e"]),
        ("json.dumps(x, **kw)\n", ["e"]),
        ("from json import dumps as text\ntext(x, sort_keys=True)\n", ["e"]),
        ("text = json.dumps\ntext(x, sort_keys=True)\n", ["e"]),
        ("text = partial(json.dumps, default=str)\n", ["e"]),
        ("json.loads(x, object_hook=f)\n", ["d"]),
        ("try:\n    json.loads(x)\nexcept json.JSONDecodeError:\n    pass\n", ["d"]),
    ],
)
def test_keywords_that_only_the_package_has(tmp_path: Path, text: str, frozen: list[str]) -> None:
    names_of = {"dumps": "e", "loads": "d", "JSONDecodeError": "d"}
    base = {"json/__init__.py": f"_attrs = {names_of}\ndef __getattr__(a): pass\n", "json/e.py": "", "json/d.py": ""}
    made = names(resolve(tmp_path, {"main.py": "import json\n" + text}, base))
    assert made == [*(f"json/{name}.py" for name in (["__init__", *frozen] if frozen else [])), "main.py"]


FULLER = """
_attrs = {"Now": "now", "Later": "later", "More": "more", ".result()": "more", ".call": "more", "Now(name)": "more"}
def __getattr__(a): pass
"""


def with_fuller(tmp_path: Path, text: str, *, everything: bool = False) -> tuple[Resolver, Path]:
    """The resolver of a script over LAZY, for which a fuller package stands ready; and the file of that."""
    fuller = tmp_path / "fuller.py"
    fuller.write_text(FULLER)
    (tmp_path / "main.py").write_text(text)
    for name, content in {**LAZY, "lazy/more.py": "from . import now\nimport lazy\n"}.items():
        (tmp_path / "base" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "base" / name).write_text(content)
    files = Root.of_folder(tmp_path / "base", "base", "floe").files
    base = Root("base", "floe", files, {"lazy/__init__.py": Frozen("lazy/__init__.py", fuller, "floe")})
    resolver = Resolver([base], C_MODULES)
    resolver.add(Frozen("main.py", tmp_path / "main.py", "app"))
    if everything:
        resolver.add_all(base)
    return resolver, fuller


def test_the_fuller_package_where_somebody_names_what_only_it_has(tmp_path: Path) -> None:
    for text in (
        "import lazy\nlazy.Later\n",
        "import lazy as l\nl.Now\n",
        "from lazy import Now, Nothing\n",
        "import lazy\nresult = lazy.Now(1)\ncall(result.result(5), result.result)\nf(name=1)\n",
    ):
        resolver, fuller = with_fuller(tmp_path, text)
        assert resolver.closure.frozen["lazy/__init__.py"].path != fuller
        assert "lazy/more.py" not in resolver.closure.frozen
    for text in (
        "import lazy\nlazy.More\n",
        "from lazy import More\nfrom lazy import Now\n",
        "import lazy\nf(lazy)\n",
        "import lazy\nf(x).result()\n",
        "import lazy\nx.y.call(1, 2)\n",
        "import lazy\nlazy.Now(1, name=2)\n",
    ):
        resolver, fuller = with_fuller(tmp_path, text)
        assert resolver.closure.frozen["lazy/__init__.py"].path == fuller
        assert {"lazy/more.py", "lazy/now.py"} <= resolver.closure.frozen.keys()
    resolver, fuller = with_fuller(tmp_path, "import lazy\nlazy.Now\n", everything=True)
    assert resolver.closure.frozen["lazy/__init__.py"].path == fuller


@pytest.mark.parametrize(
    ("text", "init", "more"),
    [
        ("time.sleep(1)\n", "", []),
        ("time.now()\n", "plain", ["now"]),
        ("time.later()\ntime.now()\n", "fuller", ["later", "now"]),
        ("from time import later\n", "fuller", ["later"]),
        ("f(time)\n", "plain", ["now"]),
        ("from time import *\n", "plain", ["now"]),
        ("f(time)\ntime.later()\n", "fuller", ["later", "now"]),
    ],
)
def test_a_fuller_package_over_a_c_module(tmp_path: Path, text: str, init: str, more: list[str]) -> None:
    """Who names nothing of it has the C module alone; the plain package is not in the way of the fuller one."""
    head = "def __getattr__(a): pass\n"
    tables = {"plain": {"now": "now"}, "fuller": {"now": "now", "later": "later"}}
    for name, table in tables.items():
        (tmp_path / f"{name}.py").write_text(f"_attrs = {table}\n{head}")
    for name in ("now", "later"):
        (tmp_path / f"{name}.py").write_text("")
    target = "time/__init__.py"
    files = {f"time/{name}.py": Frozen(f"time/{name}.py", tmp_path / f"{name}.py", "floe") for name in ("now", "later")}
    files[target] = Frozen(target, tmp_path / "plain.py", "floe")
    base = Root("base", "floe", files, {target: Frozen(target, tmp_path / "fuller.py", "floe")})
    (tmp_path / "main.py").write_text(f"import time\n{text}")
    resolver = Resolver([base], C_MODULES)
    resolver.add(Frozen("main.py", tmp_path / "main.py", "app"))
    frozen = resolver.closure.frozen
    assert sorted(frozen) == ["main.py", *([target] if init else []), *(f"time/{name}.py" for name in more)]
    assert not init or frozen[target].path == tmp_path / f"{init}.py"


def test_everything_of_a_root_but_what_another_hides(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("import lazy\n")
    (tmp_path / "mine.py").write_text("")
    base = tmp_path / "base"
    for name, text in {**LAZY, **EXTENSION, "mine.py": "", "other.py": ""}.items():
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text(text)
    below = Root.of_folder(base, "base", "floe")
    resolver = Resolver(
        [Root("app", "app", {"mine.py": Frozen("mine.py", tmp_path / "mine.py", "app")}), below], C_MODULES
    )
    resolver.add_all(below)
    assert names(resolver.closure) == sorted([*LAZY, *EXTENSION, "other.py"])


@pytest.mark.parametrize("target", ["asyncio/__init__.py", "os/__init__.py"])
def test_a_fuller_package_has_all_that_the_plain_one_has(target: str) -> None:
    base = base_root()
    assert base.fuller.keys() == {"asyncio/__init__.py", "os/__init__.py"}
    ours, theirs = (scan(root[target].path.read_text(), target).lazy for root in (base.fuller, base.files))
    assert theirs
    assert theirs.items() <= ours.items()
    assert {f"{target.partition('/')[0]}/{part}.py" for part in ours.values()} <= base.files.keys()


def test_no_image_of_ours_hides_a_module_of_ours() -> None:
    base = base_root()
    own = [path for path in IMAGES.glob("*/*.py") if base.find((path.stem,))[1]]
    assert own == []


def test_folders_beside_a_script_are_read_when_they_are_imported(tmp_path: Path) -> None:
    """The script may lie in a home folder, with all that is there."""
    for name in ("wanted/deep/part.py", "other/deep/part.py", "empty/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "wanted")
    (tmp_path / "main.py").write_text("import wanted.deep.part\n")
    root = Root.beside_script(tmp_path, "app", "app")
    resolver = Resolver([root], C_MODULES)

    resolver.add(Frozen("main.py", tmp_path / "main.py", "app"))

    assert names(resolver.closure) == ["main.py", "wanted/deep/part.py"]
    assert set(root.files) == {"main.py", "wanted/deep/part.py"}
    assert set(root.unread) == {"empty", "link", "other"}
    assert root.find(("link",)) == (None, False), "as of_folder(), which follows no links"
    for near, hint in (("othe", "did you mean `other`?"), ("empt", "put the file beside the script")):
        (tmp_path / "main.py").write_text(f"import {near}\n")
        with pytest.raises(BuildError) as raised:
            Resolver([root], C_MODULES).add(Frozen("main.py", tmp_path / "main.py", "app"))
        assert raised.value.hint.startswith(hint)
