"""What no configuration, database or API tells of an array: published figures, and why each was taken."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from typing import Any

import pandas as pd

MB = 1e6
MIB = 2**20


@dataclass(frozen=True)
class Assumed:
    """A value of a scenario's key that nobody told, and where it comes from."""

    value: Any
    why: str


@cache
def _table(name: str) -> pd.DataFrame:
    """A CSV of `sim/data`, as text."""
    with as_file(files("sim") / "data" / f"{name}.csv") as path:
        return pd.read_csv(path, dtype=str, keep_default_na=False)


def limits(volume_driver: str) -> dict[str, Assumed]:
    """The limits of the array behind a Cinder driver (its class's path), by the scenario's key.

    Keys: `max_volumes` and `max_clones_per_volume` of a backend, `pools.max_volumes` of each of its pools.
    The longest entry of `sim/data/drivers.csv` that begins the path counts.
    """
    found = {}
    numbers = _table("array_limits")
    for row in _table("drivers").to_dict("records"):
        if not volume_driver.startswith(row["volume_driver"]):
            continue
        same = numbers[(numbers["array"] == row["array"]) & (numbers["limit"] == row["limit"])]
        for value, status in zip(same["value"], same["status"], strict=True):
            if value.isdigit():
                why = f"{row['array']}: {row['limit']}" + ("" if status == "read" else f" ({status})")
                found[row["key"]] = Assumed(int(value), why)
    return found


def times() -> dict[str, Assumed]:
    """Seconds and rates of an array that nobody has measured, by the key of a backend."""
    source = "measured on Cinder with Ceph"
    after_s = _measured("  after convert until created (RBD import)")
    # What was written in that time: the size in "convert (2252 MB)".
    written_mb = 2252
    unknown = "no figure is published"
    return {
        "create_s": Assumed(1.0, unknown),
        "clone_s": Assumed(2.0, unknown),
        "delete_s": Assumed(2.0, unknown),
        "write_mib_s": Assumed(round(written_mb * MB / MIB / after_s), source),
        "convert_mib_s": Assumed(round(_measured("  convert (2252 MB)") * MB / MIB), source),
    }


def stream_mib_s() -> Assumed:
    """The rate of one download from Glance, in MiB/s."""
    rate = round(_measured("  download") * MB / MIB)
    return Assumed(rate, "measured on Cinder with Ceph")


def _measured(what: str) -> float:
    rates = _table("copy_rates")
    return float(rates.loc[rates["what"] == what, "value"].iloc[0])
