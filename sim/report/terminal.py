"""Text for a terminal, a pipe or a log: as wide as there is room, plain if the user wants no colours."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterable
from typing import IO, cast

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from sim.inputs.shown import Unescaped, escaped

LEAST = 80  # columns that tables need; a narrower terminal wraps them, nothing is cut off
MOST = 100  # columns of prose: longer lines are hard to read


class _Console(Console):
    """A console that escapes what it is given, so that all codes in its output are its own."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(escaped(segment.text), segment.style)


def console(stderr: bool = False) -> Console:
    """The console on stdout or stderr. Its `color_system` is None where escape codes are not allowed."""
    plain = bool(os.environ.get("NO_COLOR"))
    file = cast("IO[str]", Unescaped(sys.stderr if stderr else sys.stdout))
    made = _Console(highlight=False, markup=False, file=file, color_system=None if plain else "auto")
    made.width = max(made.width, LEAST)
    return made


def text_of(*parts: RenderableType) -> str:
    """The parts one below the other, in the colours of a terminal if stdout is one.

    Text with `no_wrap` stays on its line: rich itself wraps text that is printed alone.
    """
    made = console()
    with made.capture() as text:
        for part in parts:
            made.print(part, soft_wrap=isinstance(part, Text) and bool(part.no_wrap))
    return "\n".join(line.rstrip() for line in text.get().split("\n")).rstrip("\n")


def filled(text: str, first: str = "", rest: str = "") -> str:
    """Prose, wrapped at blanks. `first` stands before the first line, `rest` before the others."""
    return textwrap.fill(
        escaped(text),
        min(console().width, MOST),
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def item(text: str) -> str:
    """An item of a list."""
    return filled(text, "- ", "  ")
