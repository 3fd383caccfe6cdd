"""The content of cinder.conf, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sim.importers.backend_names import Reported
from sim.importers.conf_files import ConfFiles
from sim.importers.notes import Note

MULTIPLIERS = (
    "capacity_weight_multiplier",
    "allocated_capacity_weight_multiplier",
    "volume_number_multiplier",
)
# Options for Cinder as a whole: the first service that sets one counts.
WHOLE = (
    *("allowed_direct_url_schemes", "quota_volumes", "quota_gigabytes", "use_default_quota_class"),
    "per_volume_size_limit",
    *("scheduler_max_attempts", "backend_stats_polling_interval", "image_conversion_disable"),
    *("scheduler_default_filters", "scheduler_default_weighers", "scheduler_weight_handler"),
    *MULTIPLIERS,
    *("cinder_internal_tenant_project_id", "cinder_internal_tenant_user_id"),
    *("default_availability_zone", "storage_availability_zone"),
)


@dataclass(frozen=True)
class Section:
    """A backend of `enabled_backends`; the options are Cinder's. A ratio of None is `auto`.

    `host` is the part of Cinder's host before `@` (`backend_host`, else `host`), `node` where the service
    runs (`host`), `nodes` where all services run that share this backend. `host_told`, `node_told`: True if
    the files give the value, False if it is the name of the importing machine. `reported`: the
    `volume_backend_name` that the scheduler sees. `caches`: whether the cache is on and its service has the
    internal tenant. `loaded_driver` is the class that Cinder loads for `volume_driver`, `driver_options` are
    those of its own options that determine its clones.
    """

    name: str
    host: str
    host_told: bool
    node: str
    node_told: bool
    nodes: tuple[str, ...]
    cluster: str
    reported: Reported
    caches: bool
    volume_driver: str
    image_volume_cache_enabled: bool
    image_volume_cache_max_size_gb: int
    image_volume_cache_max_count: int
    max_over_subscription_ratio: float | None
    reserved_percentage: int
    loaded_driver: str
    driver_options: dict[str, Any]
    image_upload_use_cinder_backend: bool
    image_upload_use_internal_tenant: bool
    volume_copy_bps_limit: int
    filter_function: str | None
    goodness_function: str | None
    availability_zone: str

    @property
    def volume_backend_name(self) -> str:
        """The name that the scheduler sees, or the section's if the files do not show it ('' = none)."""
        return self.name if self.reported.name is None else self.reported.name

    @property
    def owner(self) -> str:
        """The owner of the backend: a cluster or a host. Services with the same owner share it."""
        return f"cluster {self.cluster}" if self.cluster else f"host {self.host}"


@dataclass(frozen=True)
class Service:
    """A service's files, its backends, and its values of `WHOLE`; `told` are those that the files set."""

    files: ConfFiles
    sections: tuple[Section, ...]
    whole: dict[str, Any]
    told: frozenset[str]
    lock_url: str

    @property
    def tenant(self) -> str | None:
        """The cache's project; None if project or user is not set."""
        project = self.whole["cinder_internal_tenant_project_id"]
        return project if project and self.whole["cinder_internal_tenant_user_id"] else None


@dataclass(frozen=True)
class Configuration:
    """The options of cinder.conf for the image-volume cache, the Cinder store and the scheduler.

    `sections`: by name, or by `name.host` if several services use the name. `whole`: values of `WHOLE`,
    `told` those that a file sets. `internal_tenant` is None unless project and user are set: without both
    Cinder caches nothing (`cinder.context.get_internal_tenant_context`).
    """

    sections: dict[str, Section]
    whole: dict[str, Any]
    told: frozenset[str]
    internal_tenant: str | None
    lock_scope: str
    notes: tuple[Note, ...] = field(default=(), repr=False)

    @property
    def allows_store(self) -> bool:
        """Whether Cinder would clone from a Cinder store."""
        return "cinder" in [scheme.strip() for scheme in self.whole["allowed_direct_url_schemes"]]

    @property
    def caches(self) -> bool:
        """Whether any backend caches images today."""
        return any(section.caches for section in self.sections.values())

    def section(self, host: str, name: str) -> Section | None:
        """The backend of Cinder's host `host@name`, else one of that name in another service."""
        same = [section for section in self.sections.values() if section.name == name]
        exact = [section for section in same if section.host == host]
        unsure = [section for section in same if not section.host_told]
        return next(iter([*exact, *unsure, *same]), None)
