"""The name that a backend reports to Cinder's scheduler, which compares it with those of volume types."""

from __future__ import annotations

from dataclasses import dataclass

from sim.importers.assumptions import table

MADE_UP = "?"  # the driver asks its array, or makes a name of several options


@dataclass(frozen=True)
class Reported:
    """A name that a backend reports; '' if it reports none, None if the configuration does not tell it.

    `at` is the line of Cinder's code that has the driver's own name, '' if that does not matter.
    """

    name: str | None
    at: str = ""


def reported(loaded_driver: str, configured: str | None) -> Reported:
    """What the driver of a class's path reports, given the `volume_backend_name` of its configuration.

    `sim/data/backend_names.csv` has what each driver of Cinder 29 reports where none is configured, and the
    drivers that report a name of their own always.
    """
    rows = table("backend_names").set_index("volume_driver")
    if loaded_driver not in rows.index:
        return Reported(configured or None)
    row = rows.loc[loaded_driver]
    if configured and not row["always"]:
        return Reported(configured)
    name = None if row["volume_backend_name"] == MADE_UP else str(row["volume_backend_name"])
    return Reported(name, str(row["at"]))
