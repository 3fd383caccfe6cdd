"""Runs of a prepared case: on engine `fast`, or on engine `cinder` for what `fast` has not compiled."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sim.fast.build import NO_EDGES, build
from sim.fast.engine import Prepared
from sim.fast.state import ACCOUNTS, FIELDS, NONE, Array, State
from sim.inputs.cinders import INSTALLED, Cinder
from sim.inputs.hosts import backend_of
from sim.inputs.scenario import Case, Scenario
from sim.inputs.strategies import STRATEGIES
from sim.model.records import SOURCES, Records
from sim.model.usage import KINDS, OWNERS
from sim.run import engine_of

if TYPE_CHECKING:
    from sim.cinder.changes import Change


def played(
    prepared: Prepared,
    scenario: Scenario,
    strategy: str,
    edges: Array = NO_EDGES,
    cinder: Cinder | None = None,
) -> tuple[State, float]:
    """The state at the end of a run, and the seconds in the engine. With a `cinder`, that one decides.

    After a run of engine `cinder`, the state has the rows of creates, the accounts, those at the `edges`, and
    the peaks of volumes: what a sweep measures. Raises `BadInput` as `Prepared.play` does.
    """
    if cinder is None and engine_of(scenario, "fast") == "fast":
        state, _, engine_s = prepared.play(scenario, strategy, edges=edges)
        return state, engine_s
    case = replace(prepared.case, scenario=scenario)
    if cinder is None or cinder == INSTALLED:
        from sim.cinder.changes import run  # slow to import: it loads Cinder

        records, changes = run(case, strategy)
    else:
        from sim.cinders.apart import measured

        records, changes = measured(case, strategy, cinder)
    return _state(prepared, case, strategy, edges, records, changes), records.engine_s


def _state(
    prepared: Prepared, case: Case, strategy: str, edges: Array, records: Records, changes: list[Change]
) -> State:
    names = prepared.names
    asked = prepared.asked
    s = build(case, STRATEGIES[strategy], names, prepared.trace, len(prepared.ids), len(asked), edges)
    host = {name: number for number, name in enumerate(names.hosts)} | {"": NONE}
    blank = (asked["image_id"] == "").to_numpy()
    rows = s.rows[: len(asked)]
    for table, where in ((records.requests, ~blank), (records.others, blank)):
        rows["end"][where] = table["end"]
        rows["host"][where] = table["host"].map(host)
        rows["available"][where] = table["status"] == "available"
    rows["source"][~blank] = records.requests["source"].map(SOURCES.index)
    s.backends["size_below"] = s.backends["count_below"] = 0  # Cinder does not say what it asked of limits
    if changes:
        _account(s, names.hosts, names.tiers, changes)
    return s


def _account(s: State, hosts: list[str], tiers: list[str], changes: list[Change]) -> None:
    """Fill in the accounts, at the end and at the edges, and the peaks of volumes."""
    columns = [np.array(column) for column in zip(*changes, strict=True)]
    time, host, tier, kind = columns[:4]
    amounts = np.array(columns[4:], float).T
    s.world[0]["last_change"] = time[-1]
    image = (kind == "cache") | (kind == "store")
    scopes = [host == name for name in hosts] + [tier == name for name in tiers] + [np.ones(len(time), bool)]
    for number, of_scope in enumerate(scopes):
        for place, name in enumerate(KINDS):
            chosen = of_scope & (image if name == "image" else kind == name)
            _fill(s, number * ACCOUNTS + place, time[chosen], amounts[chosen])
    owned = np.isin(kind, OWNERS)
    backend = np.array([backend_of(name) for name in host])
    for pool, name in enumerate(hosts):
        s.pools["volumes_peak"][pool] = _peak(amounts[owned & (host == name), 0])
    for number, name in enumerate(dict.fromkeys(map(backend_of, hosts))):
        s.backends["volumes_peak"][number] = _peak(amounts[owned & (backend == name), 0])


def _peak(changes: npt.NDArray[np.float64]) -> int:
    return int(np.cumsum(changes).max(initial=0))


def _fill(s: State, number: int, time: npt.NDArray[np.float64], amounts: npt.NDArray[np.float64]) -> None:
    """Fill in one account: levels after n changes, and areas up to the n-th, both from n = 0 on."""
    start = np.zeros((1, len(FIELDS)))
    levels = np.cumsum(np.vstack([start, amounts]), axis=0)
    held = np.diff(time, prepend=0.0)[:, np.newaxis] * levels[:-1]
    areas = np.cumsum(np.vstack([start, held]), axis=0)
    since = np.concatenate([[0.0], time])
    at = np.searchsorted(time, s.edges, side="right")
    for place, name in enumerate(FIELDS.values()):
        account, noted = s.accounts[number], s.edge_accounts[:, number]
        account[name], account[f"{name}_area"] = levels[-1, place], areas[-1, place]
        account[f"{name}_peak"] = levels[:, place].max()
        noted[name] = levels[at, place]
        noted[f"{name}_area"] = areas[at, place] + (s.edges - since[at]) * levels[at, place]
    s.accounts[number]["since"] = since[-1]
    s.edge_accounts[:, number]["since"] = s.edges
