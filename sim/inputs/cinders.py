"""The Cinders that can decide: supported releases, checkouts of Cinder, and the one that is installed."""

from __future__ import annotations

import re
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sim.inputs.problems import printable, quoted

# All supported releases, by number; `make map` compares their versions of the repeated code.
SUPPORTED = (
    *("24.0.0", "24.1.0", "24.2.0", "24.3.0", "24.4.0", "24.5.0"),
    *("25.0.0", "25.1.0", "25.2.0", "25.3.0", "25.3.1"),
    *("26.0.0", "26.1.0", "26.2.0", "26.3.0"),
    *("27.0.0", "28.0.0", "29.0.0"),
)


@dataclass(frozen=True)
class Cinder:
    """A Cinder that decides: a release, or a checkout that runs in the environment of a release.

    `name` is its name in tables and folders; `release` None stands for the Cinder that is installed.
    """

    name: str
    release: str | None
    checkout: Path | None = None

    @property
    def told(self) -> dict[str, str | None]:
        """What a manifest says of it."""
        return {
            "name": self.name,
            "release": self.release,
            "checkout": None if self.checkout is None else str(self.checkout),
        }


class CinderFailed(RuntimeError):
    """A run with another Cinder failed: the text names the exception, and its traceback is a note."""


class NotInstalled(RuntimeError):
    """The environment of a Cinder could not be made: the text says why, and no other run with it can be."""


INSTALLED = Cinder("installed", None)


def cinders_of(text: str) -> tuple[list[Cinder], list[str]]:
    """The Cinders that a list with commas names, each once, and the problems with it.

    An item is `installed`, a release (`26.1.0`), the last release of a series (`26`), or the path of a
    checkout of Cinder, with a `/` in it.
    """
    found: dict[Cinder, None] = {}
    problems = []
    for item in text.split(","):
        one = _cinder(item.strip())
        if isinstance(one, str):
            problems.append(f"--cinder: {one}")
        else:
            found[one] = None
    return _named_apart(list(found)), problems


def _cinder(item: str) -> Cinder | str:
    """The Cinder that an item names, or the problem with it."""
    if item == INSTALLED.name:
        return INSTALLED
    if "/" in item or item in (".", ".."):
        return _checkout(Path(item))
    of_series = [release for release in SUPPORTED if release.partition(".")[0] == item]
    if item in SUPPORTED or of_series:
        release = item if item in SUPPORTED else of_series[-1]
        return Cinder(release, release)
    return (
        f"{quoted(item)} is no release from {SUPPORTED[0]} to {SUPPORTED[-1]}, no series such as 26, not"
        " 'installed', and no path of a checkout, such as ./cinder"
    )


def _checkout(path: Path) -> Cinder | str:
    try:
        there = (path / "cinder" / "__init__.py").is_file() and any(map(Path.is_file, described_in(path)))
    except (OSError, ValueError) as error:
        return f"{printable(str(path))} cannot be read: {getattr(error, 'strerror', None) or error}"
    if not there:
        return f"{printable(str(path))} is no checkout of Cinder: it needs cinder/__init__.py and setup.cfg"
    whole = path.resolve()
    name = "".join(each if each.isalnum() or each in "-_." else "-" for each in whole.name) or "checkout"
    return Cinder(name[:60], _release_below(_version_of(whole)), whole)


def described_in(checkout: Path) -> tuple[Path, Path]:
    """The files in which a checkout may describe itself: Cinder 29 uses the second."""
    return checkout / "setup.cfg", checkout / "pyproject.toml"


def _version_of(checkout: Path) -> str:
    """The version that an unpacked archive states, or git's last tag; '' if nobody tells."""
    with suppress(OSError):
        stated = re.search(r"^Version: (.+)$", (checkout / "PKG-INFO").read_text("utf-8", "replace"), re.M)
        if stated:
            return stated[1]
    with suppress(OSError, subprocess.SubprocessError):
        asked = ["git", "-C", str(checkout), "describe", "--tags", "--match", "[0-9]*"]
        return subprocess.run(asked, capture_output=True, check=True, timeout=30, text=True).stdout.strip()
    return ""


def _release_below(version: str) -> str:
    """The last supported release that is not newer than a version; without one, the newest."""
    own = numbers(version)
    older = [release for release in SUPPORTED if own and numbers(release) <= own]
    return older[-1] if older else SUPPORTED[-1]


def numbers(version: str) -> tuple[int, ...]:
    """The numbers that a version begins with, to compare versions by."""
    leading = re.match(r"[0-9]{1,9}(\.[0-9]{1,9})*", version)
    return tuple(map(int, leading[0].split("."))) if leading else ()


def _named_apart(found: list[Cinder]) -> list[Cinder]:
    """The same Cinders; those of one name get a number."""
    seen: dict[str, int] = {}
    apart = []
    for one in found:
        seen[one.name] = number = seen.get(one.name, 0) + 1
        name = one.name if number == 1 else f"{one.name}-{number}"
        apart.append(Cinder(name, one.release, one.checkout))
    return apart
