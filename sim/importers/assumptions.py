"""Published figures for what no configuration, database or API reports about an array, and their sources."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from typing import Any

import pandas as pd

from sim.inputs.units import MIB

MB = 1e6


@dataclass(frozen=True)
class Assumed:
    """A value for a scenario's key that no source gives, and why it was chosen."""

    value: Any
    why: str


@cache
def table(name: str) -> pd.DataFrame:
    """A CSV of `sim/data`, as text."""
    with as_file(files("sim") / "data" / f"{name}.csv") as path:
        return pd.read_csv(path, dtype=str, keep_default_na=False)


def limit(array: str, what: str) -> Assumed | None:
    """A limit of an array from `sim/data/array_limits.csv`; None if no number is known."""
    numbers = table("array_limits")
    same = numbers[(numbers["array"] == array) & (numbers["limit"] == what)]
    for value, status in zip(same["value"], same["status"], strict=True):
        if value.isdigit():
            return Assumed(int(value), f"{array}: {what}" + ("" if status == "read" else f" ({status})"))
    return None


def times() -> dict[str, Assumed]:
    """Default times (s) and rates (MiB/s) of an array without measurements, by the backend's key."""
    source = "measured on Cinder with Ceph"
    after_s = _measured("  after convert until created (RBD import)")
    # The amount of data written in that time: the size in "convert (2252 MB)".
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
    rates = table("copy_rates")
    return float(rates.loc[rates["what"] == what, "value"].iloc[0])
