"""The command `cinder-cache`: it reads arguments, calls the API and shows the results."""

from __future__ import annotations

import codecs
import io
import sys

from sim.cli import curves, importing, planning, simulate, sweeping, workload  # noqa: F401  their commands join the app
from sim.cli.shared import app

__all__ = ["app", "main"]


# Each replacement is as wide as its sign, so that tables stay aligned.
PLAIN = str.maketrans("±–…×→≤≥", "~-.x><>")  # noqa: RUF001


def _plainly(error: UnicodeError) -> tuple[str | bytes, int]:
    """Replace letters that the terminal's encoding lacks, in our own texts or in names from the input."""
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end].translate(PLAIN)
    return "".join(
        each if each.isascii() else each.encode("ascii", "backslashreplace").decode() for each in text
    ), error.end


def main() -> None:
    """Run the console script."""
    codecs.register_error("plainly", _plainly)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="plainly")
    app(prog_name="cinder-cache")
