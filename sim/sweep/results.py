"""The results of a sweep: one for each cell, with a row for each tier, pool and backend."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import pandas as pd
from pydantic import ConfigDict, TypeAdapter

Scope = Literal["tier", "pool", "backend", "all"]
ALL = ""  # the name of the row of scope `all`
# Read and written several times as fast as by Python's module, and with NaN as that has it.
_JSON: TypeAdapter[Any] = TypeAdapter(Any, config=ConfigDict(ser_json_inf_nan="constants"))


class Row(NamedTuple):
    """The measures of one tier, pool or backend, or (scope `all`) of all of them together.

    - figures: the columns of `sim.analysis.metrics.summary`, and the usage of users' volumes, of the cache,
      of the store and of both (`image`); NaN without a value. A backend has the sum over its pools, so its
      peaks are upper bounds.
    - volumes_peak: the most volumes of any kind at once (see max_volumes); only for pools and backends.
    - blocks: for each measure, one number per block of time; empty for pools. A run that is one of several
      replications has one block. The counts are `creates` (that
      began in the block) and how they ended: `clones`, `errors`, `made` (successful), `slow` and `slow_all`;
      and `other_errors`, failed creates without an image. `made_s` is the sum of the seconds of those that
      succeeded. `image_volumes`, `image_provisioned_gib` and
      `image_physical_gib` are means over time.
    - tiers: the counts of `blocks` by tier, for a backend that serves several tiers; else empty.
    """

    scope: Scope
    name: str
    figures: Mapping[str, float]
    volumes_peak: int | None
    blocks: Mapping[str, Sequence[float]]
    tiers: Mapping[str, Mapping[str, Sequence[float]]]

    def flat(self) -> dict[str, Any]:
        """The row as a dictionary, for a table: scope, name and figures."""
        peak = {} if self.volumes_peak is None else {"volumes_peak": self.volumes_peak}
        return {"scope": self.scope, "name": self.name, **self.figures, **peak}


Rows = Mapping[tuple[Scope, str], Row]


@dataclass(frozen=True)
class Result:
    """The result of a cell: its `rows` by scope and name, and the number of `requests` simulated.

    `holds` (2 * backends, 2): the run is the same if the limits of size and of count of each backend's cache
    are as much as the first and less than the second; empty if nothing is known of other limits.

    `values` are the varied values by key. `cinder` is the Cinder that decided; None if the sweep has
    no choice of them. `cell_s` is 0 if the result is that of another cell's run. A failed cell has an `error`
    and no rows.
    """

    digest: str
    values: Mapping[str, Any]
    strategy: str
    replication: int
    cinder: str | None = None
    rows: Rows = field(default_factory=dict)
    holds: Sequence[Sequence[int]] = ()
    requests: int = 0
    engine_s: float = 0.0
    cell_s: float = 0.0
    error: str = ""

    @property
    def point(self) -> dict[str, Any]:
        """Which point the cell belongs to: the first columns of a table."""
        of_cinder = {} if self.cinder is None else {"cinder": self.cinder}
        return {"strategy": self.strategy, **of_cinder, **self.values}

    def to_json(self) -> str:
        """The result as JSON, below its SHA-256. A figure without a value is NaN."""
        text = _JSON.dump_json(vars(self) | {"rows": [row._asdict() for row in self.rows.values()]}).decode()
        return f"{_sha256(text)}\n{text}"

    @classmethod
    def of_json(cls, text: str) -> Result:
        """Read the text of `to_json`. Raises ValueError if it is not what that wrote."""
        told, _, text = text.partition("\n")
        if told != _sha256(text):
            raise ValueError("damaged or changed")
        raw = _JSON.validate_json(text)
        rows = [Row(**row) for row in raw["rows"]]
        return cls(**raw | {"rows": {(row.scope, row.name): row for row in rows}})


def table_of(rows: Sequence[Mapping[str, Any]], results: Iterable[Result]) -> pd.DataFrame:
    """Rows as a table whose columns of varied keys hold the values that were given.

    pandas would make 5 and null the floats 5.0 and NaN. A point that does not vary a key has NaN there.
    """
    table = pd.DataFrame(rows)
    varied = {key for result in results for key in result.values}
    for key in varied.intersection(table):
        values = [row.get(key, math.nan) for row in rows]
        if len({float if type(value) is int else type(value) for value in values}) > 1:
            table[key] = pd.Series(values, dtype=object)
    return table


def value_text(value: object) -> str:
    """A varied value as a person reads it."""
    return "null" if value is None else str(value)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
