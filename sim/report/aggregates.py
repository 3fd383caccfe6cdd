"""Aggregates of a run's long tables, which stay small however many creates there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sim.analysis.create_seconds import create_seconds
from sim.model.records import Records

if TYPE_CHECKING:
    from sim.inputs.scenario import Case

DAY_S = 86_400.0
EARLY_S = 3_600.0  # an eviction is early if the image is downloaded again so soon
MOST = 300  # images and evictions that are kept
SIGN = {"create": 1, "evict": -1, "stale": -1, "clone_limit": -1}


@dataclass(frozen=True)
class Aggregates:
    """Aggregates of one run: `create_seconds`, `waits`, `images_of`, `early_evictions`, and of `Records` the
    tables `space` and `directories`.

    Only the most telling images and early evictions are kept. `counts` covers all of them (see `counts_of`).
    """

    seconds: pd.DataFrame
    waits: pd.DataFrame
    images: pd.DataFrame
    early: pd.DataFrame
    space: pd.DataFrame
    directories: pd.DataFrame
    counts: dict[str, int]


def aggregates(records: Records, case: Case, start_s: float = 0.0) -> Aggregates:
    """The aggregates of `records`, which have the creates from `start_s` on."""
    evicted = evictions(records)
    evicted = evicted[evicted["evicted_s"] >= start_s]
    images = images_of(records, case, evicted, start_s)
    return Aggregates(
        create_seconds(records.requests),
        waits(records.requests),
        most_telling(images),
        early_evictions(evicted, case).head(MOST),
        records.space,
        records.directories,
        counts_of(images),
    )


def of_streamed(seconds: pd.DataFrame, space: pd.DataFrame, directories: pd.DataFrame) -> Aggregates:
    """Aggregates of a run whose long tables were never in memory."""
    none = pd.DataFrame()
    return Aggregates(seconds, none, none, none, space, directories, {})


def waits(requests: pd.DataFrame) -> pd.DataFrame:
    """How long successful creates waited for another create's fill, by source.

    Columns: source, creates, create_s_mean, waited (the number of creates that waited), and their
    wait_s_mean, wait_s_p95 and wait_s_max (NaN if none waited).
    """
    done = (requests["status"] == "available").to_numpy()
    seconds = requests["end"].to_numpy(float) - requests["time"].to_numpy(float)
    wait_s = requests["lock_wait_s"].to_numpy(float)
    source, names = pd.factorize(requests["source"], sort=True)
    rows = []
    for number, name in enumerate(names):
        of = done & (source == number)
        late = wait_s[of & (wait_s > 0)]
        told = (late.mean(), np.percentile(late, 95), late.max()) if len(late) else (np.nan,) * 3
        if of.any():
            rows.append((name, int(of.sum()), float(seconds[of].mean()), len(late), *map(float, told)))
    columns = ["source", "creates", "create_s_mean", "waited", "wait_s_mean", "wait_s_p95", "wait_s_max"]
    return pd.DataFrame(rows, columns=columns)


def evictions(records: Records) -> pd.DataFrame:
    """Each eviction, and how soon the pool downloaded the image again.

    Columns: host, image_id, size_gib, evicted_s, again_s (seconds until a create asked for it; NaN: never).
    """
    events, requests = records.cache_events, records.requests
    gone = events[events["event"] == "evict"]
    downloads = requests[requests["source"] == "download"] if len(gone) else requests[:0]
    key = ["host", "image_id"]
    codes = pd.factorize(pd.MultiIndex.from_frame(pd.concat([gone[key], downloads[key]])))[0]
    left = pd.DataFrame({"time": gone["time"].to_numpy(float), "key": codes[: len(gone)]})
    left["row"] = np.arange(len(gone))
    right = pd.DataFrame({"time": downloads["time"].to_numpy(float), "key": codes[len(gone) :]})
    right["asked_s"] = right["time"]
    met = pd.merge_asof(
        left.sort_values("time", kind="stable"),
        right.sort_values("time", kind="stable"),
        on="time",
        by="key",
        direction="forward",
        allow_exact_matches=False,
    ).sort_values("row")
    table = gone[[*key, "size_gib"]].reset_index(drop=True)
    table["evicted_s"] = gone["time"].to_numpy(float)
    table["again_s"] = (met["asked_s"] - met["time"]).to_numpy(float)
    return table


def early_evictions(evicted: pd.DataFrame, case: Case) -> pd.DataFrame:
    """The evictions that a download followed within EARLY_S, the soonest first."""
    early = evicted[evicted["again_s"] <= EARLY_S].sort_values(["again_s", "evicted_s"], kind="stable")
    early = early.reset_index(drop=True)
    early.insert(2, "name", _names(early["image_id"], case))
    return early


def images_of(records: Records, case: Case, evicted: pd.DataFrame, start_s: float = 0.0) -> pd.DataFrame:
    """What the cache held and what it earned: one row per pool and image with an entry, the largest first.

    Columns: host, image_id, name, size_gib, hits (clones of the cache), downloads, gib_days (size times how
    long it was held from `start_s` on), hits_per_gib_day, evictions, evicted_early (within EARLY_S before a
    download).
    """
    key = ["host", "image_id"]
    events = records.cache_events[records.cache_events["event"].isin(list(SIGN))]
    ends = (records.requests["end"], events["time"], case.trace.events["time"])
    end = max((float(times.max()) for times in ends if len(times)), default=0.0)
    before = case.initial[case.initial["kind"] == "cache"][[*key, "size_gib"]] if len(events) else events[:0]
    sign = events["event"].astype(object).map(SIGN).to_numpy(float)
    moves = pd.concat(
        [
            events[[*key, "size_gib"]].assign(sign=sign, left_s=end - events["time"].clip(lower=start_s)),
            before[[*key, "size_gib"]].assign(sign=1.0, left_s=end - start_s),
        ]
    ).astype(dict.fromkeys(key, object))
    moves["gib_s"] = moves["sign"] * moves["left_s"] * moves["size_gib"]
    of = moves.groupby(key).agg(size_gib=("size_gib", "max"), gib_s=("gib_s", "sum"))
    requests = records.requests[[*key, "source"]] if len(of) else records.requests[:0]
    for name, source in (("hits", "cache"), ("downloads", "download")):
        counts = requests.loc[requests["source"] == source, key].astype(object).groupby(key).size()
        of[name] = counts.reindex(of.index, fill_value=0).astype("int64")
    of["gib_days"] = np.maximum(of.pop("gib_s"), 0.0) / DAY_S
    of["hits_per_gib_day"] = of["hits"] / of["gib_days"].where(of["gib_days"] > 0)
    lost = evicted.astype(dict.fromkeys(key, object))
    for name, chosen in (("evictions", lost), ("evicted_early", lost[lost["again_s"] <= EARLY_S])):
        of[name] = chosen.groupby(key).size().reindex(of.index, fill_value=0).astype("int64")
    table = of.reset_index().sort_values(["gib_days", *key], ascending=[False, True, True], kind="stable")
    table = table.reset_index(drop=True)
    table.insert(2, "name", _names(table["image_id"], case))
    return table


def by_worth(images: pd.DataFrame) -> pd.DataFrame:
    """The rows of `images_of` that were held for some time; those that earned least come first."""
    held = images[images["gib_days"] > 0]
    return held.sort_values(["hits_per_gib_day", "gib_days"], ascending=[True, False], kind="stable")


def most_telling(images: pd.DataFrame) -> pd.DataFrame:
    """The rows of `images_of` that held most, earned least and earned most; a third of MOST each."""
    if len(images) <= MOST:
        return images
    ranked, third = by_worth(images).index, MOST // 3
    kept = images.index[:third].union(ranked[:third]).union(ranked[-third:])
    return images.loc[kept].reset_index(drop=True)


def counts_of(images: pd.DataFrame) -> dict[str, int]:
    """Totals over `images_of`: images, unused (without a hit), evictions, evicted_early."""
    sums = {name: int(images[name].sum()) for name in ("evictions", "evicted_early")}
    return {"images": len(images), "unused": int((images["hits"] == 0).sum())} | sums


def _names(image_ids: pd.Series[str], case: Case) -> list[str]:
    """The names of images; the id of an image without a name."""
    return [case.images[image].name or image if image in case.images else str(image) for image in image_ids]
