"""Quotas: Cinder's own engine, over its tables in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from functools import cached_property
from typing import Any

from cinder import exception, quota
from cinder.volume.flows.api.create_volume import QuotaCommitTask, QuotaReserveTask

from sim.cinder.clock import current_process
from sim.cinder.database import INTERNAL_PROJECT, STORE_PROJECT, Context
from sim.inputs.quotas import COUNTED, PER_VOLUME, by_type, limits_of
from sim.inputs.scenario import CinderOptions
from sim.model.records import FILL_FAILED
from sim.model.repeats import repeats

UNLIMITED = -1
NEVER = datetime.max  # when a reservation expires; Cinder's default would read the clock

Reservation = tuple[str, int]  # a resource, and how much of it
Amounts = defaultdict[str, defaultdict[str, int]]


class QuotaTables:
    """`cinder.db`, as far as the quota engine calls it: limits and usage of projects, and volume types.

    The internal tenant and the project of the Cinder store have quotas of their own, whatever the default
    class has.
    """

    def __init__(self, cinder: CinderOptions, tiers: Iterable[str]) -> None:
        self._types = {tier: {"id": tier, "name": tier} for tier in tiers}
        self._quotas = cinder.quotas
        self._limits = {INTERNAL_PROJECT: cinder.tenant_limits(), STORE_PROJECT: {}}
        self._unlimited = dict.fromkeys((*COUNTED, PER_VOLUME, *by_type(self._types)), UNLIMITED)
        self.in_use: Amounts = defaultdict(_nothing)  # by project and resource
        self.reserved: Amounts = defaultdict(_nothing)

    def limits(self, project_id: str) -> dict[str, int]:
        """What limits a project."""
        if project_id not in self._limits:
            self._limits[project_id] = limits_of(self._quotas, project_id)
        return self._limits[project_id]

    @repeats("cinder.db.api", "quota_get_all_by_project")
    def quota_get_all_by_project(self, context: Any, project_id: str) -> dict[str, int]:
        return self._unlimited | self.limits(project_id)

    @repeats("cinder.db.api", "volume_type_get")
    def volume_type_get(self, context: Any, volume_type_id: str, inactive: bool) -> dict[str, str]:
        return self._types[volume_type_id]

    @repeats("cinder.db.api", "volume_type_get_all")
    def volume_type_get_all(self, context: Any, inactive: bool) -> dict[str, dict[str, str]]:
        return self._types

    @repeats("cinder.db.api", "quota_reserve")
    def quota_reserve(
        self,
        context: Any,
        resources: Any,
        quotas: dict[str, int],
        deltas: dict[str, int],
        *_: Any,
        project_id: str,
    ) -> list[Reservation]:
        in_use, reserved = self.in_use[project_id], self.reserved[project_id]
        overs = [
            name
            for name, delta in deltas.items()
            if quotas[name] >= 0 and delta >= 0 and quotas[name] < delta + in_use[name] + reserved[name]
        ]
        if overs:
            usages = {name: {"in_use": in_use[name], "reserved": reserved[name]} for name in deltas}
            raise exception.OverQuota(overs=sorted(overs), quotas=quotas, usages=usages)
        for name, delta in deltas.items():
            if delta > 0:
                reserved[name] += delta
        return list(deltas.items())

    @repeats("cinder.db.api", "reservation_commit")
    def reservation_commit(self, context: Any, reservations: list[Reservation], project_id: str) -> None:
        in_use, reserved = self.in_use[project_id], self.reserved[project_id]
        for name, delta in reservations:
            if delta > 0:
                reserved[name] -= delta
                in_use[name] += delta
            else:
                in_use[name] = max(in_use[name] + delta, 0)


class Quotas(quota.VolumeTypeQuotaEngine):  # type: ignore[misc]
    """`cinder.quota.QUOTAS`. Nothing is counted of projects without a limit."""

    def __init__(self, cinder: CinderOptions, tiers: Iterable[str]) -> None:
        super().__init__(quota.DbQuotaDriver())
        self.tables = QuotaTables(cinder, tiers)
        self._reserve, self._commit = QuotaReserveTask(), QuotaCommitTask()

    @cached_property
    def resources(self) -> dict[str, Any]:
        """Cinder's own, made once: volume types do not change."""
        found: dict[str, Any] = super().resources
        return found

    def limit_check(self, context: Context, project_id: str | None = None, **values: int) -> None:
        if self.tables.limits(project_id or context.project_id):
            super().limit_check(context, project_id, **values)

    def reserve(
        self, context: Context, expire: object = None, project_id: str | None = None, **deltas: int
    ) -> list[Reservation]:
        project_id = project_id or context.project_id
        if "snapshots" in deltas or not self.tables.limits(project_id):
            return []  # neither snapshots nor this project are limited
        try:
            found: list[Reservation] = super().reserve(context, NEVER, project_id, **deltas)
            return found
        except exception.OverQuota as error:
            request = current_process().request
            if request is not None:
                request.fill_error = FILL_FAILED + type(error).__name__
            raise

    def commit(
        self, context: Context, reservations: list[Reservation], project_id: str | None = None
    ) -> None:
        if reservations:
            self.tables.reservation_commit(context, reservations, project_id=project_id or context.project_id)

    def take(self, context: Context, size_gib: int, volume_type_id: str) -> None:
        """Take the quota of a new volume, as the API does. Raises its refusal."""
        if self.tables.limits(context.project_id):
            reserved = self._reserve.execute(context, size_gib, volume_type_id, None, {})
            self._commit.execute(context, reserved["reservations"], {}, {})

    def count(self, project_id: str, size_gib: int, volume_type_id: str, times: int = 1) -> None:
        """Count a volume without a check, as one that exists at the start; `times` -1: it is gone."""
        if not self.tables.limits(project_id):
            return
        deltas = {"volumes": times, "gigabytes": times * size_gib}
        self.add_volume_type_opts(None, deltas, volume_type_id)
        in_use = self.tables.in_use[project_id]
        for name, delta in deltas.items():
            in_use[name] += delta


def _nothing() -> defaultdict[str, int]:
    return defaultdict(int)
