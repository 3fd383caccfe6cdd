"""Environments with one release of Cinder each, made once and kept in the user's cache folder."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from sim.inputs.beside import beside
from sim.inputs.cinders import SUPPORTED, Cinder, NotInstalled, described_in
from sim.inputs.problems import printable

DATA = Path(__file__).parents[1] / "data" / "cinders"


@dataclass(frozen=True)
class Kept:
    """An environment that is there: its release of Cinder, its folder, and its size."""

    release: str
    folder: Path
    size_bytes: int


def python_of(release: str, said: Callable[[str], None]) -> Path:
    """The Python of a release's environment, which is made if it is not there; `said` tells that it is.

    Raises NotInstalled, with what pip or uv printed last, if it cannot be made.
    """
    folder = _folder(release)
    python = folder / "bin" / "python"
    if not python.exists():
        said(f"Cinder {release} is being installed into {printable(str(folder))}, once")
        try:
            with beside(folder) as (new,):
                _make(new, release)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # another process was first
                where, why = printable(str(folder)), error.strerror or error
                raise NotInstalled(f"Cinder {release} could not be installed into {where}: {why}") from None
    return python


def identity(cinder: Cinder) -> list[str]:
    """What tells a Cinder from another: its name, what is installed for it, and the content of a checkout."""
    if cinder.release is None:
        return [cinder.name]
    of_checkout = [] if cinder.checkout is None else [_content(cinder.checkout)]
    return [cinder.name, _folder(cinder.release).name, *of_checkout]


def _content(checkout: Path) -> str:
    """A hash of a checkout's code, without its tests, and of the files that describe it."""
    digest, package = hashlib.sha256(), checkout / "cinder"
    code = (path for path in package.rglob("*.py") if path.relative_to(package).parts[0] != "tests")
    for path in sorted([*code, *filter(Path.is_file, described_in(checkout))]):
        digest.update(bytes(path.relative_to(checkout)) + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def kept() -> list[Kept]:
    """The environments that are there, by release."""
    found = []
    for folder in sorted(_root().glob("[0-9]*")):
        files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
        found.append(Kept(folder.name.partition("-")[0], folder, sum(path.stat().st_size for path in files)))
    return sorted(found, key=lambda one: tuple(map(int, one.release.split("."))))


def remove(one: Kept) -> None:
    """Remove an environment. Raises OSError."""
    gone = one.folder.with_name(f".{one.folder.name}.{os.getpid()}")
    one.folder.replace(gone)  # from here on nobody takes it for whole
    shutil.rmtree(gone)


def _root() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "cinder-cache-planner" / "cinders"


def _folder(release: str) -> Path:
    """The folder of a release; another Python, or other packages beside Cinder, need another one."""
    needs = hashlib.sha256(_requirements(release).read_bytes() + sys.version.encode()).hexdigest()
    return _root() / f"{release}-{needs[:12]}"


def _requirements(release: str) -> Path:
    return DATA / f"{release.partition('.')[0]}.txt"


def _make(folder: Path, release: str) -> None:
    assert release in SUPPORTED
    python, uv = folder / "bin" / "python", _uv()
    wanted = ["--requirement", str(_requirements(release)), f"cinder=={release}"]
    if uv:
        _run(release, [*uv, "venv", "--quiet", "--python", sys.executable, str(folder)])
        _run(release, [*uv, "pip", "install", "--quiet", "--no-deps", "--python", str(python), *wanted])
    else:
        _run(release, [sys.executable, "-m", "venv", str(folder)])
        _run(release, [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", *wanted])


def _uv() -> list[str]:
    """The command uv, which takes seconds where pip takes a minute; empty if it is not there."""
    if (found := shutil.which("uv")) is not None:
        return [found]
    return [sys.executable, "-m", "uv"] if find_spec("uv") is not None else []


def _run(release: str, command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
    if done.returncode:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        last = printable(lines[-1]) if lines else f"exit code {done.returncode}"
        raise NotInstalled(
            f"Cinder {release} could not be installed. Its first use needs a package index: {last}"
        )
