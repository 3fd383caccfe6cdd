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
from typing import NamedTuple

from docs.figures import checkouts

ROOT = Path(__file__).parents[2]
CONSOLE = re.compile(r"^( *```console)\n(.*?)\n( *```)$", re.M | re.S)
NUMBERS = re.compile(r"[-+]?\d[\d,.]*|─+")
RUN = re.compile(r"cinder-cache (compare|curve|plan|verify) scenarios/\S+\.yaml\b")
AS_IF = {"make compare": "cinder-cache compare scenarios/two_tiers.yaml"}
FAST = ("--engine", "fast")  # it prints the same sooner
KEPT = ("--out", "out/figures/plan")  # finished cells, as those of runs.py
MORE = {"compare": FAST, "curve": FAST, "plan": KEPT}


class Step(NamedTuple):
    """A command of a block as it stands there, without its "$" and on one line, and the lines below it."""

    shown: list[str]
    command: str
    printed: list[str]


def consoles(text: str, printed_by: Callable[[str], str | None]) -> tuple[str, list[str]]:
    """The page with the lines of its console blocks as their commands print them, and lines that no line
    printed is like.

    `printed_by` returns what a command prints, None if it is not run. Lines are alike if they differ in
    numbers and spaces only.
    """
    problems: list[str] = []

    def block(match: re.Match[str]) -> str:
        made = []
        for step in _steps(match[2]):
            made += step.shown
            told = printed_by(step.command) if step.command else None
            printed = None if told is None else told.splitlines()
            for line in step.printed:
                if printed is not None and line != "…":
                    like = [other for other in printed if other == line or _masked(other) == _masked(line)]
                    if not like:
                        problems.append(f"is not printed: {line}")
                    else:
                        line = line if line in like else like[0]
                        printed = printed[printed.index(line) + 1 :]
                made.append(line)
        return "\n".join([match[1], *made, match[3]])

    return CONSOLE.sub(block, text), problems


def not_run(text: str) -> Iterator[tuple[int, str]]:
    """The commands in a page whose output is shown but which are not run, with their places in the text."""
    for match in CONSOLE.finditer(text):
        at = match.start(2)
        for step in _steps(match[2]):
            if step.printed and not is_run(step.command):
                yield at, step.command or step.printed[0]
            at += sum(len(line) + 1 for line in (*step.shown, *step.printed))


def is_run(command: str) -> bool:
    """Whether `make figures` runs this command."""
    known = RUN.match(AS_IF.get(command, command)) is not None
    return known and ("--cinder" not in command or checkouts.named(command))


@cache
def printed_by(command: str) -> str | None:
    """What a command on a scenario of the repository prints; None if it is not run, or only prepares one."""
    command = AS_IF.get(command, command)
    if not is_run(command):
        checkouts.prepare(command)
        return None
    words = command.split()
    other = "--cinder" in words
    more = () if other or "--engine" in words else MORE.get(words[1], ())
    done = subprocess.run(
        [sys.executable, "-m", "sim", *words[1:], *more],
        cwd=checkouts.folder() if other else ROOT,
        env=os.environ | {"COLUMNS": "80", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode > int(other):  # 1: a patch breaks an invariant, as it is meant to
        raise subprocess.CalledProcessError(done.returncode, command)
    return done.stdout


def _steps(block: str) -> Iterator[Step]:
    step = Step([], "", [])
    for line in block.splitlines():
        text = line.strip()
        if text.startswith("$ "):
            yield step
            step = Step([line], text[2:], [])
        elif step.command.endswith("\\"):
            step = Step([*step.shown, line], f"{step.command[:-1]}{text}", [])
        else:
            step.printed.append(line)
    yield step


def _masked(line: str) -> str:
    return " ".join(NUMBERS.sub("#", line).split())
