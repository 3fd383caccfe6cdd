"""The app with all its commands."""

from __future__ import annotations

from sim.cli import cinders, curves, importing, planning, simulate, storming, sweeping, watching, workload  # noqa: F401  they join the app
from sim.cli.ending import app

__all__ = ["app"]
