"""A cache folder of the tests' own, in which other Cinders are installed; and checkouts of the newest."""

from __future__ import annotations

import os
import shutil
import sysconfig
import venv
from importlib.metadata import distribution, version
from pathlib import Path

import pytest

from sim.cinders import environments

HERE = Path(sysconfig.get_path("purelib"))


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder for all processes of the tests: each environment is made once.

    That of the installed release takes the packages that are installed here, which saves their installation.
    The others are installed as users install them.
    """
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        patch.setattr(environments, "_make", _of_this_python)
        environments.python_of(version("cinder"), print)
    return folder


def _of_this_python(folder: Path, release: str) -> None:
    venv.create(folder, symlinks=True)
    packages = sysconfig.get_path("purelib", vars={"base": str(folder)})
    (Path(packages) / "here.pth").write_text(f"{HERE}\n")


def unpacked(folder: Path) -> Path:
    """A checkout of the installed Cinder, as pip unpacked it."""
    shutil.copytree(HERE / "cinder", folder / "cinder", ignore=shutil.ignore_patterns("__pycache__"))
    points = distribution("cinder").read_text("entry_points.txt") or ""
    lines = [f"  {line}" if line and line[0] != "[" else line for line in points.splitlines()]
    groups = [f"{line[1:-1]} =" if line.startswith("[") else line for line in lines]
    (folder / "setup.cfg").write_text("[entry_points]\n" + "\n".join(groups) + "\n")
    return folder
