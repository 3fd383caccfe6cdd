"""Text for a terminal, a pipe or a log: as wide as there is room, plain if the user wants no colours."""

from __future__ import annotations

import os
import textwrap

from rich.console import Console, RenderableType

LEAST = 80  # columns that tables need; a narrower terminal wraps them, nothing is cut off
MOST = 100  # columns of prose: longer lines are hard to read


def console(stderr: bool = False) -> Console:
    """The console on stdout or stderr. Its `color_system` is None where escape codes are not allowed."""
    plain = bool(os.environ.get("NO_COLOR"))
    made = Console(highlight=False, markup=False, stderr=stderr, color_system=None if plain else "auto")
    made.width = max(made.width, LEAST)
    return made


def text_of(*parts: RenderableType) -> str:
    """The parts one below the other, in the colours of a terminal if stdout is one."""
    made = console()
    with made.capture() as text:
        for part in parts:
            made.print(part)
    return "\n".join(line.rstrip() for line in text.get().split("\n")).rstrip("\n")


def filled(text: str, first: str = "", rest: str = "") -> str:
    """Prose, wrapped at blanks. `first` stands before the first line, `rest` before the others."""
    return textwrap.fill(
        text,
        min(console().width, MOST),
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def item(text: str) -> str:
    """An item of a list."""
    return filled(text, "- ", "  ")
