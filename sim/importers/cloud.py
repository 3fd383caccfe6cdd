"""A scenario while it is being made: the sources, and what the importer makes of them."""

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


# Where a create's first attempt runs: on the host that a source shows, or where the scheduler places it.
Placement = Literal["first-host", "scheduler"]


@dataclass(frozen=True)
class Sources:
    """What was read; None for a source that was not given. `glance`: rows of `sim.importers.glance.read`.

    `notes`: notes on sources that have no notes of their own.
    """

    configuration: Configuration | None = None
    history: History | None = None
    glance: pd.DataFrame | None = None
    telemetry: Telemetry | None = None
    pools: Pools | None = None
    notes: tuple[Note, ...] = ()


@dataclass
class Backend:
    """A backend of the scenario. Each value of its keys and `pools` comes from a source or is `Assumed`.

    `nodes` take its creates in turn; `cluster`: they are an active/active cluster, else they share a host.
    """

    volume_types: list[str] | Assumed
    nodes: list[str] | Assumed
    keys: dict[str, Any]
    pools: dict[str, dict[str, Any]]
    remark: str = ""
    cluster: bool = False

    @property
    def placing(self) -> dict[str, Any]:
        """The scenario's keys for its nodes."""
        names = self.nodes.value if isinstance(self.nodes, Assumed) else self.nodes
        only = names[0] if len(names) == 1 else names
        value = Assumed(only, self.nodes.why) if isinstance(self.nodes, Assumed) else only
        found: dict[str, Any] = {"node" if len(names) == 1 else "nodes": value}
        return found | {"cluster": True} if self.cluster else found


@dataclass
class Cloud:
    """A scenario while it is being made. `hosts`: the scenario's name for each of Cinder's hosts.

    `quotas`: those of users' projects, as the scenario has them. `store_ids`: the store of Glance, by volume
    type, to which uploads go that do not go to the default store; `stores` are the volume types of these.
    """

    sources: Sources
    places: dict[str, Place]
    backends: dict[str, Backend]
    tiers: list[str]
    images: pd.DataFrame
    initial: pd.DataFrame | None
    store_home: str | Assumed | None
    placement: Placement
    notes: list[Note] = field(default_factory=list)
    quotas: dict[str, dict[str, int | None]] = field(default_factory=dict)
    store_ids: dict[str, str] = field(default_factory=dict)
    stores: dict[str, Assumed] = field(default_factory=dict)

    @property
    def hosts(self) -> dict[str, str]:
        return {raw: place.host for raw, place in self.places.items()}

    @property
    def has_trace(self) -> bool:
        """Whether a source has a history of creates."""
        return self.sources.history is not None or self.sources.telemetry is not None

    @property
    def strategy(self) -> str | None:
        """The strategy that describes today's settings; None if they are unknown.

        In clouds without a Cinder store, too, `allowed_direct_url_schemes` may have `cinder`.
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
        """Whether a source shows image-volumes of Glance's Cinder store."""
        history, glance, telemetry = self.sources.history, self.sources.glance, self.sources.telemetry
        return (
            (history is not None and len(history.stored) > 0)
            or (glance is not None and bool(glance["store_volumes"].map(len).any()))
            or (telemetry is not None and bool(telemetry.images["store_hosts"].map(len).any()))
        )

    def assumed(self) -> dict[tuple[str, ...], Assumed]:
        """Every assumed value by the path of its key in the scenario."""
        found: dict[tuple[str, ...], Assumed] = {("glance", "stream_mib_s"): assumptions.stream_mib_s()}
        for name, volume_type in self.stores.items():
            found["stores", name, "volume_type"] = volume_type
        for name, backend in self.backends.items():
            for key, one in backend.keys.items():
                if isinstance(one, Assumed):
                    found["backends", name, key] = one
            for pool, keys in backend.pools.items():
                for key, one in keys.items():
                    if isinstance(one, Assumed):
                        found["backends", name, "pools", pool, key] = one
        return found
