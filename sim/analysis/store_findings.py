"""Findings on the Cinder store: images that no create clones, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from sim.analysis.names import among, by_pair
from sim.analysis.wording import Finding, at_host, by, clone_limits, count, downloads, lost_s, name_of, some
from sim.inputs.strategies import Strategy
from sim.model.initial import store_hosts
from sim.model.records import Records
from sim.model.rules import ATTACH_TRIES, CLOCK_S, attach_wait_s

if TYPE_CHECKING:
    from sim.inputs.scenario import Case

TRIES_S = sum(attach_wait_s(refused) for refused in range(1, ATTACH_TRIES))  # of glance_store, for a volume
CLONING_UPLOADS = ("no-op", "raw-twin-location")  # these put image-volumes into the store


def store_findings(records: Records, case: Case, strategy: Strategy) -> list[Finding]:
    """Why creates do not clone from the store: no image, not raw, elsewhere, or another project's."""
    hosts = {image.image_id: store_hosts(case, strategy, image) for image in case.images.values()}
    stored = [image for image in case.images.values() if hosts[image.image_id]]
    if not stored and not case.stored_later:
        kept = case.scenario.asks or case.scenario.upload in CLONING_UPLOADS
        if kept and (records.uploads["status"] == "active").any():
            return []
        return [Finding("no image is in the Cinder store: set store.home, or store_hosts of images")]
    useful = {i.image_id for i in stored if (i.disk_format, i.container_format) == ("raw", "bare")}
    useless = [image for image in stored if image.image_id not in useful]
    requests = records.requests
    lines = []
    if useless:
        gib = sum(i.size_gib * len(hosts[i.image_id]) for i in useless)
        asked = requests[requests["image_id"].isin([image.image_id for image in useless])]
        line = (
            f"{len(useless):,} of {len(stored):,} images of the Cinder store are not raw and bare:"
            f" they take {gib:,} GiB there and are never cloned;"
            f" {count(len(asked), 'create')} asked for them"
        )
        lines.append(Finding(line, lost_s=lost_s(downloads(asked), case)))
    placed = requests[requests["image_id"].isin(useful - case.stored_later) & (requests["host"] != "")]
    beside = by_pair(placed["host"], placed["image_id"], lambda host, image: host in hosts[image])
    across = [host for host in case.scenario.pools() if case.scenario.backend_at(host).clone_across_pools]
    far = placed[~beside & ~placed["host"].isin(across)]
    if len(far):
        line = (
            f"{len(far):,} of {count(len(placed), 'create')} of raw images of the Cinder store ran on"
            " pools without an image-volume of theirs, and only the same pool can clone it"
        )
        lines.append(Finding(line, lost_s=lost_s(downloads(far), case)))
    foreign = [i for i in stored if i.image_id in useful and i.image_owner not in ("", i.owner)]
    if foreign:
        theirs = placed["image_id"].isin([image.image_id for image in foreign])
        missed = placed[theirs & beside & (placed["source"] != "store")]
        if len(missed):
            names = some(name_of(case, image.image_id) for image in foreign)
            line = (
                f"the Cinder store's image-volumes of {names} name a project (image_owner) that does not own"
                f" the image: {count(len(missed), 'create')} beside them did not clone them;"
                " upload images as the project that owns them"
            )
            lines.append(Finding(line, lost_s=lost_s(missed, case)))
    own = useful - {image.image_id for image in foreign} - case.uploaded
    lines += _unread(requests, case)
    return [*lines, *_refused_clones(placed[beside & placed["image_id"].isin(own)], case)]


def _unread(requests: pd.DataFrame, case: Case) -> list[Finding]:
    """Downloads that failed because others read the image at the same time.

    A conversion directory that fills while a download waits raises the same error. But only glance_store has
    tried for 24 s in each attempt before.
    """
    types = [name for name, tier in case.scenario.tiers.items() if not tier.multiattach]
    if not types:
        return []
    lost = requests[requests["error"].str.contains("GlanceMetadataNotFound")]
    waited_s = lost["lock_wait_s"] + lost["stream_wait_s"] + TRIES_S * lost["attempts"].astype(float)
    failed = lost[lost["end"] - lost["time"] >= waited_s - CLOCK_S]
    if failed.empty:
        return []
    line = (
        f"{count(len(failed), 'create')} failed because Glance could not attach an image-volume that others"
        " were reading, for 24 s. Give the Cinder store a volume type that is multiattach"
        f" ({', '.join(types)} {'is' if len(types) == 1 else 'are'} not), or clone more"
    )
    return [Finding(line, lost_s=lost_s(failed, case))]


def _refused_clones(beside: pd.DataFrame, case: Case) -> list[Finding]:
    """Downloads although the pool had an image-volume: the array refused the clone and Cinder went on."""
    events = case.trace.events
    downloaded = downloads(beside)
    encrypted = among(downloaded["volume_id"], events.loc[events["encrypted"], "volume_id"])
    lines = []
    for host, chosen in by(downloaded[~encrypted], "host"):
        limits = clone_limits(case, host)
        why = f"clone limit ({limits})" if limits else "the array refused the clone"
        line = f"{count(len(chosen), 'create')} downloaded although the store had the image there: {why}"
        lines.append(at_host(line, case, host, lost_s(chosen, case)))
    return lines
