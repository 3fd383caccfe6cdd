"""The name that a backend reports to Cinder's scheduler, which compares it with the names in volume types."""

from __future__ import annotations

from dataclasses import dataclass

from sim.importers.assumptions import table

MADE_UP = "?"  # the driver asks its array, or builds the name from several options


@dataclass(frozen=True)
class Reported:
    """A reported name: '' if the backend reports none, None if the configuration does not determine it.

    `at` is the line of Cinder's code with the driver's own name, '' if that does not matter.
    """

    name: str | None
    at: str = ""


def reported(loaded_driver: str, configured: str | None) -> Reported:
    """The name that the driver at a class path reports, given its configured `volume_backend_name`.

    `sim/data/backend_names.csv` lists what each driver of Cinder 29 reports without a configured name, and
    which drivers always report a name of their own.
    """
    rows = table("backend_names").set_index("volume_driver")
    if loaded_driver not in rows.index:
        return Reported(configured or None)
    row = rows.loc[loaded_driver]
    if configured and not row["always"]:
        return Reported(configured)
    name = None if row["volume_backend_name"] == MADE_UP else str(row["volume_backend_name"])
    return Reported(name, str(row["at"]))
