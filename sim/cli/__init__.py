"""The command `cinder-cache`: reads its arguments, calls the API and shows what comes back."""

from __future__ import annotations

import io
import sys

from sim.cli import importing, planning, simulate, sweeping, workload  # noqa: F401  their commands join the app
from sim.cli.shared import app

__all__ = ["app", "main"]


def main() -> None:
    """The console script."""
    # Names from the input may have letters that the terminal's encoding lacks.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    app(prog_name="cinder-cache")
