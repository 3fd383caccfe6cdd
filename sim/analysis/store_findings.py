"""Findings on the Cinder store: images that no create clones, and why."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sim.analysis.adding import Counts, Kind, Part, costs
from sim.analysis.names import Mask, among, by_pair
from sim.analysis.wording import Finding, at_host, clone_limits, count, lost, name_of, number, parts_of, some
from sim.inputs.strategies import Strategy
from sim.model.initial import store_hosts
from sim.model.rules import ATTACH_TRIES, CLOCK_S, attach_wait_s

if TYPE_CHECKING:
    from sim.inputs.images import Image
    from sim.inputs.scenario import Case

TRIES_S = sum(attach_wait_s(refused) for refused in range(1, ATTACH_TRIES))  # of glance_store, for a volume
CLONING_UPLOADS = ("no-op", "raw-twin-location")  # these put image-volumes into the store


WHAT = ("useless", "placed", "far", "missed", "refused", "unread")  # see `_asked`


@dataclass(frozen=True)
class _Stored:
    """The images of the Cinder store at the start: all, those that no create clones, and `foreign` ones, that
    name another project than their own. `hosts`: by image, its pools."""

    hosts: dict[str, tuple[str, ...]]
    images: list[Image]
    useless: list[Image]
    foreign: list[Image]

    @property
    def useful(self) -> set[str]:
        return {i.image_id for i in self.images} - {i.image_id for i in self.useless}


def _stored(case: Case, strategy: Strategy) -> _Stored:
    hosts = {image.image_id: store_hosts(case, strategy, image) for image in case.images.values()}
    stored = [image for image in case.images.values() if hosts[image.image_id]]
    useless = [i for i in stored if (i.disk_format, i.container_format) != ("raw", "bare")]
    foreign = [i for i in stored if i not in useless and i.image_owner not in ("", i.owner)]
    return _Stored(hosts, stored, useless, foreign)


def _asked(part: Part, case: Case, strategy: Strategy) -> pd.DataFrame | None:
    """Creates of stored images: `what` is said of them, by host.

    - useless: of images that are never cloned; `lost_s` is that of their downloads.
    - placed: of the others; far: on pools without an image-volume of theirs, missed: beside one of another
      project that they did not clone, refused: downloaded beside one of their own.
    - unread: failed, because others read the image.
    """
    if not strategy.uses_store or strategy.on_demand:
        return None
    of, requests = _stored(case, strategy), part.requests
    image, images = pd.factorize(requests["image_id"])
    host, hosts = pd.factorize(requests["host"])

    def asks_for(known: Collection[str]) -> Mask:
        return images.isin(list(known))[image]

    source, downloaded = requests["source"], (requests["source"] == "download").to_numpy()
    placed = asks_for(of.useful - case.stored_later) & (hosts != "")[host]
    beside = placed & by_pair(
        (host, hosts), (image, images), lambda host, image: host in of.hosts.get(image, ())
    )
    across = [host for host in case.scenario.pools() if case.scenario.backend_at(host).clone_across_pools]
    foreign = asks_for([image.image_id for image in of.foreign])
    encrypted = among(requests["volume_id"], part.events.loc[part.events["encrypted"], "volume_id"])
    chosen = {
        "useless": asks_for([image.image_id for image in of.useless]),
        "placed": placed,
        "far": placed & ~beside & ~hosts.isin(across)[host],
        "missed": beside & foreign & (source != "store").to_numpy(),
        "refused": beside & ~foreign & ~asks_for(case.uploaded) & downloaded & ~encrypted,
        "unread": _unread(requests, case),
    }
    lost_s = costs(requests, case)["lost_s"].to_numpy()
    of_downloads = np.where(downloaded, lost_s, 0.0)

    def by_host(what: str, mask: Mask) -> pd.DataFrame:
        """There are many creates, and some count twice: they are added up here."""
        chosen, lost = host[mask], (of_downloads if what in ("useless", "far") else lost_s)[mask]
        sums = {"creates": np.bincount(chosen), "lost_s": np.bincount(chosen, lost)}
        table = pd.DataFrame({"what": what, "host": hosts[: len(sums["creates"])], **sums})
        return table[table["creates"] > 0]

    rows = [by_host(what, mask) for what, mask in chosen.items() if mask.any()]
    return pd.concat(rows, ignore_index=True) if rows else None


def _unread(requests: pd.DataFrame, case: Case) -> Mask:
    """Whether a create failed because others read the image at the same time.

    A conversion directory that fills while a download waits raises the same error. But only glance_store has
    tried for 24 s in each attempt before.
    """
    unread = (requests["status"] == "error").to_numpy(copy=True)
    failed = requests[unread]
    lost = failed["error"].str.contains("GlanceMetadataNotFound")
    waited_s = failed["lock_wait_s"] + failed["stream_wait_s"] + TRIES_S * failed["attempts"].astype(float)
    unread[unread] = lost & (failed["end"] - failed["time"] >= waited_s - CLOCK_S)
    return unread


KINDS = {"stored": Kind(("what", "host"), _asked)}


def store_findings(counts: Counts, case: Case, strategy: Strategy, uploaded: bool) -> list[Finding]:
    """Why creates do not clone from the store: no image, not raw, elsewhere, or another project's.

    `uploaded`: whether an upload succeeded.
    """
    of = _stored(case, strategy)
    if not of.images and not case.stored_later:
        kept = case.scenario.asks or case.scenario.upload in CLONING_UPLOADS
        if kept and uploaded:
            return []
        return [Finding("no image is in the Cinder store: set store.home, or store_hosts of images")]
    table = counts.get("stored", pd.DataFrame({"what": [], "host": [], "creates": [], "lost_s": []}))
    asked = {what: table[table["what"] == what] for what in WHAT}

    def told(what: str, line: str) -> Finding:
        return Finding(line, lost_s=lost(asked[what]))

    lines = []
    if of.useless:
        gib = sum(i.size_gib * len(of.hosts[i.image_id]) for i in of.useless)
        line = (
            f"{len(of.useless):,} of {len(of.images):,} images of the Cinder store are not raw and bare:"
            f" they take {gib:,} GiB there and are never cloned;"
            f" {count(number(asked['useless']), 'create')} asked for them"
        )
        lines.append(told("useless", line))
    if far := number(asked["far"]):
        line = (
            f"{far:,} of {count(number(asked['placed']), 'create')} of raw images of the Cinder store ran on"
            " pools without an image-volume of theirs, and only the same pool can clone it"
        )
        lines.append(told("far", line))
    if missed := number(asked["missed"]):
        names = some(name_of(case, image.image_id) for image in of.foreign)
        line = (
            f"the Cinder store's image-volumes of {names} name a project (image_owner) that does not own"
            f" the image: {count(missed, 'create')} beside them did not clone them;"
            " upload images as the project that owns them"
        )
        lines.append(told("missed", line))
    types = [name for name, tier in case.scenario.tiers.items() if not tier.multiattach]
    if types and (unread := number(asked["unread"])):
        line = (
            f"{count(unread, 'create')} failed because Glance could not attach an image-volume that others"
            " were reading, for 24 s. Give the Cinder store a volume type that is multiattach"
            f" ({', '.join(types)} {'is' if len(types) == 1 else 'are'} not), or clone more"
        )
        lines.append(told("unread", line))
    return [*lines, *_refused_clones(asked["refused"], case)]


def _refused_clones(refused: pd.DataFrame, case: Case) -> list[Finding]:
    """Downloads although the pool had an image-volume: the array refused the clone and Cinder went on."""
    lines = []
    for host, rows in parts_of(refused, "host"):
        limits = clone_limits(case, host)
        why = f"clone limit ({limits})" if limits else "the array refused the clone"
        downloads = count(number(rows), "create")
        line = f"{downloads} downloaded although the store had the image there: {why}"
        lines.append(at_host(line, case, host, lost(rows)))
    return lines
