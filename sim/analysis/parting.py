"""Where two Cinders part: what each makes of a workload, and the first create that they treat otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from sim.analysis.known import known_between
from sim.analysis.rows import Row
from sim.analysis.verification import difference
from sim.inputs.cinders import Cinder
from sim.model.records import Records
from sim.model.usage import ALL

FOLLOWED = ("host", "source", "status", "error", "attempts", "end")  # columns by which two creates differ


@dataclass(frozen=True)
class Parting:
    """What two Cinders make of one row. `told` is the first difference as text; '' if there is none.

    `known` are the known differences of the two that such a run can meet, if it met one.

    - creates: how many creates from an image end otherwise, be it only at another moment.
    - decisions: how many of them have another source, host, status, error or number of attempts.
    - hit_rates, p95s_s, failed: clone-hit rate, 95th percentile of create seconds and failed creates of both.
    """

    way: str
    first: str
    second: str
    creates: int
    decisions: int
    hit_rates: tuple[float, float]
    p95s_s: tuple[float, float]
    failed: tuple[int, int]
    told: str
    known: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """The two in a sentence."""
        about = f"{self.way}, Cinder {self.first} -> {self.second}"
        if not self.told:
            return f"{about}: the same decisions at the same moments."
        hits = " -> ".join(_shown(100 * rate, ".1f") for rate in self.hit_rates)
        seconds = " -> ".join(_shown(each, ",.0f") for each in self.p95s_s)
        failed = " -> ".join(f"{each:,}" for each in self.failed)
        moved = self.creates - self.decisions
        return (
            f"{about}: {self.decisions:,} creates are decided otherwise, and {moved:,} more end at another"
            f" moment. Clone hits {hits} %, p95 {seconds} s, failed creates {failed}."
        )

    @property
    def document(self) -> dict[str, Any]:
        """The same for JSON; a rate or percentile that there is not is null."""
        rates = {name: [None if np.isnan(each) else each for each in getattr(self, name)] for name in RATES}
        return asdict(self) | rates


def _shown(value: float, spec: str) -> str:
    """A rate or a percentile as text; '-' if there is none, as in the tables."""
    return "-" if np.isnan(value) else format(value, spec)


RATES = ("hit_rates", "p95s_s")
Ran = tuple[Row, pd.DataFrame, Records]  # a row, its summary, and its tables


def partings(ran: Sequence[Ran]) -> list[Parting]:
    """Each Cinder beside the next one, for every way that several Cinders have run, in the order of `ran`."""
    ways: dict[str, list[Ran]] = {}
    for one in ran:
        ways.setdefault(one[0].way, []).append(one)
    return [_parting(*pair) for same in ways.values() for pair in pairwise(same)]


def _parting(first: Ran, second: Ran) -> Parting:
    cinders: tuple[Cinder, Cinder] = first[0].cinder, second[0].cinder
    names = cinders[0].name, cinders[1].name
    one, other = (each[2].requests for each in (first, second))
    unlike = {name: (one[name] != other[name]).to_numpy() for name in FOLLOWED}
    decided = np.logical_or.reduce([unlike[name] for name in FOLLOWED if name != "end"])
    total = [each[1][each[1]["tier"] == ALL].iloc[0] for each in (first, second)]
    told = difference(first[2], second[2], (f"Cinder {names[0]}", f"Cinder {names[1]}")) or ""
    row = first[0]
    return Parting(
        row.way,
        *names,
        int((decided | unlike["end"]).sum()),
        int(decided.sum()),
        (float(total[0]["clone_hit_rate"]), float(total[1]["clone_hit_rate"])),
        (float(total[0]["create_s_p95"]), float(total[1]["create_s_p95"])),
        (_failed(total[0]), _failed(total[1])),
        told,
        tuple(known_between(row.case, row.strategy, *cinders)) if told else (),
    )


def _failed(row: pd.Series[Any]) -> int:
    return int(row["errors"] + row["other_errors"])
