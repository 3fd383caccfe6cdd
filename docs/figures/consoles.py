"""Blocks of a console in pages: what they show is what their command prints.

`make figures` runs the commands that read scenarios of the repository, and writes what they print into the
lines of the block. A block stays as short as it is: only lines that differ in numbers and spaces are
replaced. Blocks of commands that are not run stand in docs/figures/given.csv, with the reason.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONSOLE = re.compile(r"^( *```console)\n(.*?)\n( *```)$", re.M | re.S)
NUMBERS = re.compile(r"[-+]?\d[\d,.]*|─+")
RUN = re.compile(r"cinder-cache (compare|curve|plan|verify) scenarios/\S+\.yaml(?!.*--cinder)")
AS_IF = {"make compare": "cinder-cache compare scenarios/two_tiers.yaml"}
FAST = ("--engine", "fast")  # it prints the same sooner
KEPT = ("--out", "out/figures/plan")  # finished cells, as those of runs.py
MORE = {"compare": FAST, "curve": FAST, "plan": KEPT}


def consoles(text: str, printed_by: Callable[[str], str | None]) -> tuple[str, list[str]]:
    """The page with the lines of its console blocks as their commands print them, and lines that no line
    printed is like.

    `printed_by` returns what a command prints, None if it is not run. Lines are alike if they differ in
    numbers and spaces only.
    """
    problems: list[str] = []

    def block(match: re.Match[str]) -> str:
        printed: list[str] | None = None
        lines = []
        for line in match[2].splitlines():
            if line.startswith("$ "):
                told = printed_by(line[2:])
                printed = None if told is None else told.splitlines()
            elif printed is not None and line != "…":
                like = [other for other in printed if other == line or _masked(other) == _masked(line)]
                if not like:
                    problems.append(f"is not printed: {line}")
                else:
                    line = line if line in like else like[0]
                    printed = printed[printed.index(line) + 1 :]
            lines.append(line)
        return "\n".join([match[1], *lines, match[3]])

    return CONSOLE.sub(block, text), problems


def not_run(text: str) -> Iterator[tuple[int, str]]:
    """The commands in a page whose output is shown but which are not run, with their places in the text."""
    for match in CONSOLE.finditer(text):
        command, at, begin = "", match.start(2), match.start(2)
        for line in match[2].splitlines():
            shown = line.strip()
            if shown.startswith("$ "):
                command, at = shown[2:], begin
            elif command.endswith("\\"):
                command = f"{command[:-1]}{shown}"
            elif not is_run(command):
                yield at, command or shown
                break
            begin += len(line) + 1


def is_run(command: str) -> bool:
    """Whether `make figures` runs this command."""
    return RUN.match(AS_IF.get(command, command)) is not None


@cache
def printed_by(command: str) -> str | None:
    """What a command on a scenario of the repository prints; None if it is not run."""
    command = AS_IF.get(command, command)
    if not is_run(command):
        return None
    words = command.split()
    more = () if "--engine" in words else MORE.get(words[1], ())
    done = subprocess.run(
        [sys.executable, "-m", "sim", *words[1:], *more],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "80"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


def _masked(line: str) -> str:
    return " ".join(NUMBERS.sub("#", line).split())
