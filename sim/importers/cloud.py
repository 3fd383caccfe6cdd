"""A scenario in the making: what was read of a cloud, and what is made of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from sim.importers import assumptions
from sim.importers.assumptions import Assumed
from sim.importers.names import Place
from sim.importers.notes import Note
from sim.importers.settings import Configuration

if TYPE_CHECKING:
    from sim.importers.database import History
    from sim.importers.notifications import Telemetry
    from sim.importers.pool_files import Pools


# Where a create's first attempt is: where a source tells it was, or where the scheduler puts it.
Placement = Literal["first-host", "scheduler"]


@dataclass(frozen=True)
class Sources:
    """What was read; None what was not asked for. `glance`: rows of `sim.importers.glance.read`.

    `notes`: what was said of sources that have no notes of their own.
    """

    configuration: Configuration | None = None
    history: History | None = None
    glance: pd.DataFrame | None = None
    telemetry: Telemetry | None = None
    pools: Pools | None = None
    notes: tuple[Note, ...] = ()


@dataclass
class Backend:
    """A backend of the scenario: keys with values that were told, or `Assumed`; `pools` likewise."""

    volume_types: list[str] | Assumed
    node: str | Assumed
    keys: dict[str, Any]
    pools: dict[str, dict[str, Any]]
    remark: str = ""


@dataclass
class Cloud:
    """A scenario in the making. `hosts`: the scenario's name of each of Cinder's."""

    sources: Sources
    places: dict[str, Place]
    backends: dict[str, Backend]
    tiers: list[str]
    images: pd.DataFrame
    initial: pd.DataFrame | None
    store_home: str | Assumed | None
    placement: Placement
    notes: list[Note] = field(default_factory=list)

    @property
    def hosts(self) -> dict[str, str]:
        return {raw: place.host for raw, place in self.places.items()}

    @property
    def has_trace(self) -> bool:
        """Whether a source tells what was created when."""
        return self.sources.history is not None or self.sources.telemetry is not None

    @property
    def strategy(self) -> str | None:
        """The strategy that describes today's settings, if they are known.

        `allowed_direct_url_schemes` has `cinder` in clouds that have no Cinder store, too.
        """
        configuration = self.sources.configuration
        if configuration is None:
            return None
        stored = configuration.allows_store and self.has_store
        return {
            (False, False): "none",
            (True, False): "store-only",
            (False, True): "cache-only",
            (True, True): "combined",
        }[stored, configuration.caches]

    @property
    def has_store(self) -> bool:
        """Whether a source shows image-volumes of a Cinder store of Glance's."""
        history, glance, telemetry = self.sources.history, self.sources.glance, self.sources.telemetry
        return (
            (history is not None and len(history.stored) > 0)
            or (glance is not None and bool(glance["store_volumes"].map(len).any()))
            or (telemetry is not None and bool(telemetry.images["store_hosts"].map(len).any()))
        )

    def assumed(self) -> dict[tuple[str, ...], Assumed]:
        """Every assumed value by its key's path in the scenario."""
        found: dict[tuple[str, ...], Assumed] = {("glance", "stream_mib_s"): assumptions.stream_mib_s()}
        for name, backend in self.backends.items():
            for key, one in backend.keys.items():
                if isinstance(one, Assumed):
                    found["backends", name, key] = one
            for pool, keys in backend.pools.items():
                for key, one in keys.items():
                    if isinstance(one, Assumed):
                        found["backends", name, "pools", pool, key] = one
        return found
