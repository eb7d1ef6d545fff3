# SPDX-License-Identifier: MIT
"""Podman with storage of its own, as root or as nobody, where it can run a container at all."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from floe.oci import image, rootfs
from floe.oci.layout import Execution, File, Layout
from tests.support.nobody import NOBODY

LIMIT_S = 120


@dataclass
class Podman:
    """`folder` is that of its user, and short: names of sockets are made of it."""

    folder: Path
    rootless: bool
    runtime: str

    def __call__(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run to the end. Its own remarks are on standard error, too."""
        done = subprocess.run(
            self.argv(*words), capture_output=True, text=True, timeout=LIMIT_S, check=False, env=self.environment
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    @property
    def environment(self) -> dict[str, str]:
        """All that it needs of one."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "XDG_RUNTIME_DIR": f"{self.folder}/run",
            "CONTAINERS_CONF": f"{self.folder}/containers.conf",
            "CONTAINERS_STORAGE_CONF": f"{self.folder}/storage.conf",
        }

    def argv(self, *words: str) -> list[str]:
        user = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"] if self.rootless else []
        return [*user, "podman", *words]

    def run(self, *words: str, check: bool = False) -> subprocess.CompletedProcess[str]:
        """podman run, whose exit code is most often the container's."""
        return self("run", *words, check=check)

    def configure(self) -> None:
        """Storage of its own, which takes no mount; a network that leaves nothing on the host; limits that this process
        may set."""
        limits = []
        for name, number in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC)):
            most = min(1024, resource.getrlimit(number)[1])
            limits.append(f'"{name}={most}:{most}"')
        network = '"slirp4netns"' if shutil.which("slirp4netns") else '"none"'
        (self.folder / "containers.conf").write_text(
            f"[containers]\ndefault_ulimits = [{', '.join(limits)}]\nnetns = {network}\n"
            f'[engine]\nruntime = "{self.runtime}"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
            f'tmp_dir = "{self.folder}/tmp"\n'
        )
        (self.folder / "storage.conf").write_text(
            f'[storage]\ndriver = "vfs"\ngraphroot = "{self.folder}/root"\nrunroot = "{self.folder}/run/storage"\n'
        )

    def lacks(self) -> str:
        """Why it runs no container here, "" where it does: of an image that is one static program, which says yes."""
        layout = Layout(self.folder / "probe")
        layout.add_layer([File(rootfs.HEALTHY, image.ENTRY, 0o755), File(f"{rootfs.FOLDER}/ports")])
        layout.finish(Execution([rootfs.HEALTHY]), "probe:1", {})
        done = self.run("--rm", "--network=none", f"oci:{layout.folder}")
        return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no word"])[-1]

    def close(self) -> None:
        self("rm", "--all", "--force", "--time", "0", check=False)
        with contextlib.suppress(OSError, ValueError):  # holds the name spaces of a user's containers
            os.kill(int((self.folder / "tmp" / "pause.pid").read_text()), signal.SIGKILL)


@contextmanager
def podman(*, rootless: bool) -> Iterator[Podman]:
    """The test is skipped where there is none, or where it runs no container."""
    if shutil.which("podman") is None or os.geteuid() != 0:
        pytest.skip("SKIP: podman is not installed" if os.geteuid() == 0 else "SKIP: not root")
    runtimes = [runtime for runtime in ("crun", "runc") if shutil.which(runtime)]
    why = "neither crun nor runc"
    for runtime in runtimes:  # crun refuses some machines' cgroups, which runc takes
        # Its name is a part of the images': "_" is drawn for it, which none of their parts begins or ends with.
        with tempfile.TemporaryDirectory("p", "floe-p", ignore_cleanup_errors=True) as made:
            (Path(made) / "run").mkdir(mode=0o700)
            if rootless:
                for path in (Path(made), Path(made) / "run"):
                    os.chown(path, NOBODY, NOBODY)
            found = Podman(Path(made), rootless, runtime)
            found.configure()
            try:
                why = found.lacks()
                if not why:
                    yield found
                    return
            finally:
                found.close()
    pytest.skip(f"SKIP: podman runs no container here: {why}")
