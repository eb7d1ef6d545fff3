# SPDX-License-Identifier: MIT
"""sbom.py: valid CycloneDX, the same for the same image, and nothing of what is in the image is missing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest

from floe.build import pipeline, port_archive
from floe.cli import main as cli
from floe.image import elf, sbom
from floe.setup.pins import STAMP

REPO = Path(__file__).resolve().parents[3]
_SCHEMAS = "http://cyclonedx.org/schema/"


@pytest.fixture(scope="module")
def check() -> Callable[[dict[str, Any]], object]:
    """Raises for a document that CycloneDX's own schema refuses."""
    folder = resources.files("cyclonedx.schema") / "_res"

    def load(name: str) -> Any:
        return json.loads((folder / name).read_text())

    handlers = {"http": lambda uri: load(uri.removeprefix(_SCHEMAS).partition("#")[0])}
    checked: Callable[[dict[str, Any]], object] = fastjsonschema.compile(
        load("bom-1.6.SNAPSHOT.schema.json"), handlers=handlers
    )
    return checked


@pytest.mark.parametrize("image", ["hello", "web", "function"])
def test_it_is_valid(image: str, check: Callable[[dict[str, Any]], object]) -> None:
    document = sbom.document(pipeline.build(REPO / "images" / image).image)
    check(document)
    references = [part["bom-ref"] for part in document["components"]]
    assert len(set(references)) == len(references)
    assert document["dependencies"][0] == {"ref": "image", "dependsOn": references}
    with pytest.raises(fastjsonschema.JsonSchemaException):
        check(document | {"components": [{"name": "no type"}]})


def test_all_that_is_in_the_image_is_there() -> None:
    built = pipeline.build(REPO / "images" / "web", variant="tls-disk")
    held, document = built.image.content, sbom.document(built.image)
    image = document["metadata"]["component"]
    assert image["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(built.path.read_bytes()).hexdigest()}]
    parts = {part["name"]: part for part in document["components"]}
    assert set(parts) == {"floe", "micropython", "libffi", "lwip", "mbedtls", "littlefs", "FatFs"}
    files = [file for part in (image, *parts.values()) for file in part.get("components", ())]
    named = sorted((file["name"], file["hashes"][0]["content"]) for file in files if "hashes" in file)
    assert named == sorted((file["name"], file["sha256"]) for file in held["frozen"])
    assert {file["name"] for file in files if "hashes" not in file} == {f"/rom/{name}" for name in held["data"]}
    modules = [each["value"] for each in parts["floe"]["properties"] if each["name"] == "floe:module"]
    assert modules == held["modules"]


def test_upstream_is_what_was_unpacked_and_patched() -> None:
    document = sbom.document(pipeline.build(REPO / "images" / "web", variant="tls").image)
    parts = {part["name"]: part for part in document["components"]}
    for pin in port_archive.pins():
        part = parts[pin.name]
        assert (part["version"], part["licenses"]) == (pin.version, [{"expression": pin.licence}])
        assert part["hashes"][0]["content"] in (port_archive.UPSTREAM / pin.name / STAMP).read_text()
        mended = part.get("pedigree", {}).get("patches", [])
        assert [each["resolves"][0]["name"] for each in mended] == [patch.path.stem for patch in pin.patches]
    assert len(parts["micropython"]["pedigree"]["patches"]) > 10


def test_an_image_of_an_older_floe(check: Callable[[dict[str, Any]], object]) -> None:
    """Its note has no archives and no patches; a package's licence is any text."""
    image = pipeline.build(REPO / "images" / "hello").image
    for part in image.content["upstream"]:
        part.pop("sha256", None)
        part.pop("patches", None)
    image.content["packages"] = [{"name": "p", "version": "1", "licence": "do what you like", "sha256": "0" * 64}]
    document = sbom.document(image)
    check(document)
    assert "hashes" not in document["components"][1]
    assert document["components"][-1]["licenses"] == [{"license": {"name": "do what you like"}}]


def test_floe_inspect_prints_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script, out = tmp_path / "main.py", tmp_path / "main.elf"
    script.write_text("print(1)\n")
    assert cli.run(["build", str(script), "-o", str(out)]) == 0
    capsys.readouterr()
    texts = []
    for _ in range(2):
        assert cli.run(["inspect", "--sbom", str(out)]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    assert json.loads(texts[0]) == sbom.document(elf.read(out))
