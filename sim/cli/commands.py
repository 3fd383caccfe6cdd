"""The app with all its commands."""

from __future__ import annotations

from sim.cli import (  # noqa: F401  they join the app
    advising,
    cinders,
    curves,
    importing,
    judging,
    planning,
    reporting,
    simulate,
    storming,
    sweeping,
    watching,
    workload,
)
from sim.cli.ending import app

__all__ = ["app"]
