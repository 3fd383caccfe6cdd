"""The command `cinder-cache`: it reads arguments, calls the API and shows the results.

stopping.py  signals and the end of the process
ending.py    exit codes, and what is said of an error
shared.py    the app, common options, printing
jobs.py      what run and compare are asked for
outcomes.py  their simulations, and what comes of them
sources.py   the options of a real cloud's sources
simulate.py, sweeping.py, planning.py, curves.py, storming.py, workload.py, importing.py, advising.py,
             judging.py, reporting.py, watching.py  the commands
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from sim.cli import stopping

if TYPE_CHECKING:
    from sim.cli.commands import app

__all__ = ["app", "main"]


def main() -> None:
    """Run the console script. Whatever happens, it ends with an exit code and no traceback."""
    stopping.begin()  # before anything slow is imported
    # Pydantic would read what each installed package says of itself, to find plugins; none is of use here.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    # OpenBLAS, which numpy loads, would start threads that wait busily and have little to do.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        from sim.cli.ending import ended, safe_streams
    except Exception as error:
        print(f"cinder-cache: cannot begin: {type(error).__name__}: {error}", file=sys.stderr)
        stopping.end(1)
    safe_streams()
    try:
        from sim.cli.commands import app

        app(prog_name="cinder-cache")
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 0
    except Exception as error:
        code = ended(error)
    stopping.end(code)


def __getattr__(name: str) -> object:
    """Import the app when it is used."""
    if name == "app":
        from sim.cli.commands import app

        return app
    raise AttributeError(f"module 'sim.cli' has no attribute {name!r}")
