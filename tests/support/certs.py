# SPDX-License-Identifier: MIT
"""Certificates for one test run, made by the `openssl` command: a CA and what it signs, good and bad."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

HOST = "floe.test"
_CA_CONFIG = """
[ca]
default_ca = ours
[ours]
database = index.txt
new_certs_dir = .
serial = serial
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
"""


class Certificates:
    """PEM files in a folder: NAME.pem and NAME.key. `ca` has signed all but `selfsigned` and `unknown`.

    good: for HOST, 127.0.0.1 and 10.0.2.2. rsa: the same with an RSA key. wrong: for another host. expired, future:
    good's, at other times. unknown: signed by a CA that nobody trusts. client: for a client."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("SKIP: openssl is not installed")
        self.folder = folder
        (folder / "ca.cnf").write_text(_CA_CONFIG)
        (folder / "index.txt").write_text("")
        (folder / "serial").write_text("1000\n")
        self._authority("ca")
        self._authority("stranger")
        self._leaf("good", HOST)
        self._leaf("rsa", HOST, kind=("rsa:2048",))
        self._leaf("wrong", "other.test")
        self._leaf("expired", HOST, dates=("20200101000000Z", "20210101000000Z"))
        self._leaf("future", HOST, dates=("20400101000000Z", "20410101000000Z"))
        self._leaf("unknown", HOST, issuer="stranger")
        self._leaf("client", "client.test")
        self._authority("selfsigned", HOST)

    def pem(self, name: str) -> Path:
        return self.folder / f"{name}.pem"

    def key(self, name: str) -> Path:
        return self.folder / f"{name}.key"

    def env(self, *names: str) -> dict[str, str]:
        """Files as values of environment variables, NAME_PEM and NAME_KEY; a guest makes newlines of the bars."""
        texts = {f"{name.upper()}_PEM": self.pem(name).read_text() for name in names}
        texts |= {f"{name.upper()}_KEY": self.key(name).read_text() for name in names if name != "ca"}
        return {name: text.replace("\n", "|") for name, text in texts.items()}

    def _run(self, *argv: str) -> None:
        argv = ("openssl", *argv)
        done = subprocess.run(argv, cwd=self.folder, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr

    def _authority(self, name: str, host: str = "") -> None:
        extra = ["-addext", "keyUsage=critical,digitalSignature,keyCertSign,cRLSign"]
        extra += ["-addext", f"subjectAltName=DNS:{host}"] if host else []
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key"]
        self._run("req", "-x509", *key, "-out", f"{name}.pem", "-days", "30", "-subj", f"/CN={host or name}", *extra)

    def _leaf(
        self,
        name: str,
        host: str,
        *,
        kind: tuple[str, ...] = ("ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        issuer: str = "ca",
        dates: tuple[str, str] | None = None,
    ) -> None:
        key = ["-newkey", *kind, "-nodes", "-keyout", f"{name}.key"]
        self._run("req", *key, "-out", f"{name}.csr", "-subj", f"/CN={host}")
        # RFC 5280 4.2.1.1; Python 3.13 insists.
        keys = "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
        (self.folder / f"{name}.ext").write_text(f"subjectAltName=DNS:{host},IP:127.0.0.1,IP:10.0.2.2\n{keys}")
        when = ["-startdate", dates[0], "-enddate", dates[1]] if dates else ["-days", "30"]
        signer = ["-cert", f"{issuer}.pem", "-keyfile", f"{issuer}.key"]
        files = ["-in", f"{name}.csr", "-out", f"{name}.pem", "-extfile", f"{name}.ext", "-notext"]
        self._run("ca", "-config", "ca.cnf", "-batch", *signer, *files, *when)
