"""Checkouts of Cinder for the consoles of pages, made in a temporary folder as the page says.

What a page clones is the installed Cinder, whose code is that of its release.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.cinders.conftest import unpacked

ROOT = Path(__file__).parents[2]
CLONE = re.compile(r"git clone .*/cinder(?: (my-cinder))?$")
CHANGE = "# change my-cinder/cinder/image/cache.py"
LRU, MRU = "entry = entries.pop()", "entry = entries.pop(0)"  # the entry that `ensure_space` evicts
SHELL = re.compile(r"git -C cinder apply |sed .* > scenarios/")
NAMED = re.compile(r"--cinder \S+,\./(?:my-)?cinder\b")


def named(command: str) -> bool:
    """Whether a command asks for such a checkout."""
    return NAMED.search(command) is not None


@cache
def _temporary() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="cinder-figures-")


def folder() -> Path:
    """Where the checkouts are, beside the patches and copies of the scenarios; it goes when Python ends."""
    path = Path(_temporary().name)
    if not (path / "scenarios").exists():
        shutil.copytree(ROOT / "scenarios", path / "scenarios")
        (path / "patches").symlink_to(ROOT / "patches")
    return path


def prepare(command: str) -> None:
    """Do what a page does before it compares: clone, change, apply a patch, write a scenario."""
    if cloned := CLONE.match(command):
        unpacked(folder() / (cloned[1] or "cinder"))
    elif command == CHANGE:
        file = folder() / CHANGE.split()[-1]
        file.write_text(file.read_text().replace(LRU, MRU))
    elif SHELL.match(command):
        subprocess.run(command, shell=True, cwd=folder(), env=os.environ | {"PWD": str(folder())}, check=True)
