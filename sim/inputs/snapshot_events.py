"""Checks of a trace's snapshots: each is of a volume that exists, is taken once and deleted once."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from sim.inputs.tables import Table

KINDS = ("snapshot", "delete_snapshot")


def check_snapshots(table: Table, events: pd.DataFrame, initial: Iterable[str]) -> None:
    """Note snapshots of volumes that do not exist (`initial`: volumes of the start), and IDs in use."""
    rows = np.flatnonzero(events["event"].isin(list(KINDS)))
    if not len(rows):
        return
    of_volumes = events[events["event"].isin(["create", "delete"])]
    first, last = (
        dict(zip(part["volume_id"], part.index, strict=True))
        for part in (of_volumes[of_volumes["event"] == event] for event in ("create", "delete"))
    )
    first |= dict.fromkeys(initial, -1)
    taken: dict[str, str] = {}
    gone: set[str] = set()
    found: dict[str, list[int]] = {}
    some = events.loc[rows, ["event", "volume_id", "snapshot_id"]]
    for row, event, volume, snapshot in some.itertuples():
        if not snapshot:
            what = "a snapshot needs a snapshot_id"
        elif event == "delete_snapshot":
            known = taken.get(snapshot) == volume and snapshot not in gone
            what = "" if known else "delete of snapshot {}, which this volume does not have"
            gone.add(snapshot)
        elif snapshot in taken or snapshot in first:
            what = "ID {} is another snapshot's or a volume's"
        else:
            taken[snapshot] = volume
            there = first.get(volume, row) < row < last.get(volume, len(events))
            what = "" if there else "snapshot {} of a volume that does not exist at that time"
        if what:
            found.setdefault(what, []).append(row)
    for what, bad in found.items():
        mask = np.zeros(len(events), dtype=bool)
        mask[bad] = True
        table.flag("snapshot_id", mask, what)
