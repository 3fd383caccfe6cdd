"""Findings on a run, in plain words, with numbers on which an operator can act."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sim.analysis import (
    cache_findings,
    create_findings,
    driver_findings,
    quota_findings,
    room_findings,
    store_findings,
)
from sim.analysis.adding import Counts, Ended, Part, counted
from sim.analysis.cache_levels import CachedGib, Overshoots
from sim.analysis.directory_findings import full_directories, refused_clones
from sim.analysis.node_findings import node_findings
from sim.analysis.wording import Finding
from sim.inputs.strategies import STRATEGIES
from sim.model.records import Records

if TYPE_CHECKING:
    from sim.inputs.scenario import Case

KINDS = {
    **create_findings.KINDS,
    **quota_findings.KINDS,
    **room_findings.KINDS,
    **cache_findings.KINDS,
    **store_findings.KINDS,
    **driver_findings.KINDS,
}


def findings(records: Records, case: Case, strategy: str) -> list[Finding]:
    """One line per finding, the gravest kinds first; empty if nothing stands out."""
    seen = Seen(case, strategy)
    seen.happened(records.cache_events)
    seen.add(records.requests, records.others, records.cache_events, case.trace.events)
    waited = records.requests[records.requests["lock_wait_s"] > 0]
    ended = Ended(
        records.cache,
        records.nodes,
        records.usage,
        room_findings.deleted_images(case),
        lambda tier, _: float(np.percentile(waited.loc[waited["volume_type"] == tier, "lock_wait_s"], 95)),
        _end_s(records, case),
        records,
    )
    return seen.told(ended)


def most(findings: Iterable[Finding], number: int) -> list[Finding]:
    """At most so many of them, those that cost creates most first."""
    return sorted(findings, key=lambda line: -line.lost_s)[:number]


def overshoot(records: Records, case: Case) -> pd.DataFrame:
    """Fills at the same time that took a cache over its limits; no lock protects the limits."""
    over = Overshoots(case)
    over.add(records.cache_events)
    return over.table(_end_s(records, case))


def _end_s(records: Records, case: Case) -> float:
    ends = (records.requests["end"], records.cache_events["time"], case.trace.events["time"])
    return max((float(times.max()) for times in ends if len(times)), default=0.0)


class Seen:
    """What has been seen of a run, for findings. Its parts come in the order of the trace."""

    def __init__(self, case: Case, strategy: str) -> None:
        self._case, self._name, self._strategy = case, strategy, STRATEGIES[strategy]
        self._cached, self._over = CachedGib(case), Overshoots(case)
        self._counts: Counts = {}

    def happened(self, cache_events: pd.DataFrame) -> None:
        """Take in the next events of the cache, in order of time, before the creates to which they belong."""
        self._cached.add(cache_events)
        self._over.add(cache_events)

    def add(
        self, requests: pd.DataFrame, others: pd.DataFrame, cache_events: pd.DataFrame, events: pd.DataFrame
    ) -> None:
        """Take in the next creates: see `Part`."""
        part = Part(requests, others, cache_events, events, self._cached.at)
        self._counts = counted(KINDS, part, self._case, self._strategy, self._counts)

    def forget(self, until_s: float) -> None:
        """No coming create begins before this time."""
        self._cached.forget(until_s)

    def told(self, ended: Ended) -> list[Finding]:
        """One line per finding, the gravest kinds first."""
        counts, case, chosen, records = self._counts, self._case, self._strategy, ended.records
        full = full_directories(ended.nodes, case, self._name if records else None)
        kinds = [
            cache_findings.no_cache(case, chosen),
            create_findings.failed(counts, case),
            quota_findings.refused_by_quotas(counts, case, records),
            full,
            refused_clones(records, case) if records and full else [],
            create_findings.held_by_cache(counts, case),
            room_findings.lack_of_space(counts, case, chosen),
            create_findings.late(counts, case),
            cache_findings.refused(counts, case),
            create_findings.waited(counts, case, ended),
            node_findings(records, case) if records and chosen.image_volume_cache_enabled else [],
            cache_findings.overshoots(self._over.table(ended.end_s), case),
            cache_findings.failed_fills(counts, case),
            cache_findings.lost_to_limits(counts, case),
            cache_findings.orphans(ended.usage, case),
            room_findings.refused_deletes(records, case, chosen) if records else [],
            cache_findings.useless_entries(ended.cache, ended.deleted_images, case),
            driver_findings.driver_findings(counts, case),
        ]
        if chosen.uses_store and not chosen.on_demand:  # on demand, they are where creates ask
            uploaded = records is not None and bool((records.uploads["status"] == "active").any())
            kinds.append(store_findings.store_findings(counts, case, chosen, uploaded))
        return [line for lines in kinds for line in lines]
