# SPDX-License-Identifier: MIT
"""One bad input a file in cases/: its first comments say the command, the exit code, and words that must be
on standard error ("says") and in the hint ("hint"). A .py case becomes app.py, a .toml case image.toml beside a
main.py that runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from floe.cli import main as cli

CASES = sorted((Path(__file__).parent / "cases").iterdir())


def header(text: str, key: str) -> list[str]:
    marker = f"# {key}: "
    return [line.removeprefix(marker) for line in text.splitlines() if line.startswith(marker)]


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_error(case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    raw = case.read_bytes()
    text = raw.decode("utf-8", "replace")
    name = (header(text, "as") or ["app.py" if case.suffix == ".py" else "image.toml"])[0]
    (tmp_path / name).write_bytes(raw)
    if case.suffix == ".toml":
        (tmp_path / "main.py").write_text("print('fine')\n")
    argv = text.splitlines()[0].removeprefix("# floe ").replace("app.py", name).split()
    monkeypatch.chdir(tmp_path)

    code = cli.run(argv)

    out, err = capfd.readouterr()
    said = header(text, "says")
    assert said, "the case expects no words"
    assert code == int(header(text, "exit")[0]), err
    for words in said:
        assert words in err
    hints = "\n".join(line.strip() for line in err.partition("  try: ")[2].splitlines())
    for words in header(text, "hint"):
        assert words in hints
    assert err.startswith("floe: ")
    assert "Traceback" not in err
    assert "internal error" not in err
    assert out == ""
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".elf"] == []


COMMANDS = [
    ("build nothere.py", 127, "no such file: nothere.py", "APP is a .py file or a folder with image.toml"),
    ("build text.txt", 125, "text.txt: neither a .py file nor a folder with image.toml", ""),
    ("build empty", 127, "no image.toml in empty", "floe new empty"),
    ("build ..", 127, "no image.toml in ..", "floe new NAME"),
    ("build ok.py -o no/such/folder/x.elf", 127, "cannot write no/such/folder/x.elf", "name another file with -o"),
    ("build ok.py -o empty", 125, "empty is a folder", "floe build ok.py -o empty/ok.elf"),
    ("build ok.py --tls", 125, "--variant tls: ok.py has no image.toml", "a script that imports `ssl` has TLS"),
    ("build ok.py --variant x", 125, "--variant x: ok.py has no image.toml", "variants stand in an image's folder"),
    ("build ok.py -o a.tar --oci ./a.tar", 125, "a.tar cannot be both the ELF and the container image", "-o ok.elf"),
    ("build ok.py --oci text.txt", 125, "--oci text.txt: it is no folder", "--oci text.txt.tar"),
    (
        "build ok.py --disk floppy",
        125,
        "'floppy' is not one of 'raw', 'qcow2', 'iso', 'vmdk', 'vhd'",
        "floe build --help",
    ),
    ("build --nonsense ok.py", 125, "No such option", "floe build --help"),
    ("build", 125, "Missing argument 'APP'", "floe build --help"),
    ("run", 125, "Missing argument 'APP'", "floe run --help"),
    ("move web east", 125, "a VM of this machine does not move while it runs", "floe move --host HOST NAME TARGET"),
    ("move --host east web east", 125, "web is on east already", ""),
    ("host disk push east nothere.img", 127, "nothere.img", "floe disk create"),
    ("host disk push east text.txt", 125, "text.txt has 7 bytes; a disk has at least 64K", "floe disk create"),
    ("host disk pull nobody d.img", 127, "nobody", "floe host"),
    ("host disk pull east text.txt", 125, "text.txt is there already", "ANOTHER_FILE"),
    ("host disk rm east a/b", 125, "a/b: no name of a disk on another host", "a name has letters, digits"),
    ("hosts nobody", 127, "there is no host nobody", "floe host ls"),
    ("host add x qemu+tcp://y/system", 125, "qemu+tcp://y/system: hosts are reached by ssh, or", "qemu+ssh://"),
    ("run --allow example.com ok.py", 125, "--allow example.com: a port is missing", "--allow HOST:PORT"),
    (
        "run --allow none --allow 192.0.2.1:1 ok.py",
        125,
        "--allow none does not go with another --allow",
        "--allow HOST:",
    ),
    ("build ok.py --sign nothere", 127, "no such key: nothere", "ssh-keygen -t ed25519 -f nothere"),
    (
        "run --verify text.txt ok.py",
        125,
        "--verify: ok.py is yet to be built",
        "floe build --sign KEY -o NAME.elf ok.py",
    ),
    ("run --verify nothere text.elf", 127, "no such file of public keys: nothere", "KEY.pub"),
    ("run --verify text.txt text.elf", 125, "--verify text.txt: no file of public keys", "ssh-keygen -t ed25519"),
    ("run --from text.txt --verify text.txt", 125, "--verify: a VM that goes on from a snapshot has what", "without"),
    ("run -n 2 ok.py", 125, "-n is for VMs that go on from a snapshot", "floe run --from FILE -d -n COPIES"),
    ("run --from nothere.snap", 127, "no such snapshot: nothere.snap", "floe snapshot NAME nothere.snap"),
    ("run --from text.txt", 125, "text.txt is no snapshot, or a part of one", "floe snapshot NAME FILE makes one"),
    ("run --from text.txt ok.py", 125, "--from goes on with the app and the arguments", "without APP and ARGS"),
    ("run --from text.txt --disk d.img", 125, "--disk: a VM that goes on from a snapshot has what", "without"),
    ("scale nothere.web 2", 127, "no stack nothere is up", "floe compose up FILE"),
    ("snapshot nothere x.snap", 127, "no VM nothere", ""),
    ("profile nothere", 127, "no VM nothere", "floe run --detach --name NAME APP"),
    ("profile nothere --exits", 127, "no VM nothere", "floe run --detach --name NAME APP"),
    ("profile one --rate 0", 125, "Invalid value for '--rate'", "floe profile --help"),
    ("trace nothere", 127, "no VM nothere", "floe run --detach --name NAME APP"),
    ("trace one --rate 1", 125, "Invalid value for '--rate'", "floe trace --help"),
    ("lab xen up --memory 1M", 125, "--memory 1M: less than 32M (from 32M to 16G)", "--memory 512M"),
    ("lab xen fly", 125, "No such command 'fly'", "floe lab xen --help"),
    ("fly", 125, "No such command 'fly'", "floe --help"),
    ("inspect nothere.elf", 127, "no such file: nothere.elf", ""),
    ("inspect --json --sbom ok.py", 125, "--json and --sbom: one of them", "floe inspect --sbom ELF"),
    ("inspect empty", 127, "cannot read empty", ""),
    ("inspect text.txt", 126, "text.txt is not an image that floe boots: it is no ELF file", "floe build APP"),
    ("new empty", 125, "empty exists already", "another name"),
    ("new bad*name", 125, "'bad*name' is no image name", "letters, digits"),
    ("serve ok.py", 125, "ok.py has no port to serve", "floe serve ok.py -p 8080:80"),
    ("serve ok.py --idle-stop soon", 125, "--idle-stop soon: not a time", "30s, 5m"),
    ("serve ok.py --idle-stop 1s --per-connection", 125, "--per-connection and --idle-stop: one of them", "by itself"),
    ("serve ok.py --pool 3", 125, "--pool is for --per-connection", "floe serve ok.py --per-connection --pool 3"),
    ("serve ok.py --max 3", 125, "--max is for --per-connection", "floe serve ok.py --per-connection --max 3"),
    ("new text.txt/app", 125, "cannot write text.txt/app", ""),
]


@pytest.mark.parametrize(("command", "code", "says", "hint"), COMMANDS, ids=[c[0] for c in COMMANDS])
def test_command(
    command: str, code: int, says: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("ok.py").write_text("print('ok')\n")
    Path("text.txt").write_text("no ELF\n")
    Path("empty").mkdir()

    assert cli.run(command.split()) == code

    out, err = capfd.readouterr()
    assert err.startswith("floe: ")
    assert says in err
    assert hint in err.partition("  try: ")[2]
    assert "Traceback" not in err
    assert "internal error" not in err
    assert out == ""
