"""Whether Glance has a Cinder store, where its image-volumes are, and notes on it."""

from __future__ import annotations

from collections.abc import Iterator

from sim.importers.assumptions import Assumed
from sim.importers.cloud import Cloud
from sim.importers.notes import Note

OPTION = "allowed_direct_url_schemes has cinder"


def place(cloud: Cloud) -> Iterator[Note]:
    """Set `store_home`, and the pools of images that Glance shows in a Cinder store without their pool.

    If the cloud has a Cinder store today, only its image-volumes count and there is no home for other images.
    If not, the home shows what a Cinder store would bring.
    """
    images, glance = cloud.images, cloud.sources.glance
    pools: list[str] = [host for cell in images["store_hosts"] for host in cell.split(";") if host]
    home: str | Assumed = Assumed(
        next(iter(cloud.places.values())).host, "no image is in a Cinder store today"
    )
    if pools:
        home = max(dict.fromkeys(pools), key=pools.count)
    cloud.store_home = home
    if cloud.strategy not in ("store-only", "combined"):
        return
    if glance is not None:
        stored = glance.loc[glance["store_volumes"].map(len) > 0, "image_id"]
        hidden = images["image_id"].isin(stored) & (images["store_hosts"] == "")
        where = home.value if isinstance(home, Assumed) else home
        images.loc[hidden, "store_hosts"] = where
        if hidden.any():
            what = f"{int(hidden.sum())} images of the Cinder store have no known pool: {where} is assumed"
            yield Note("assumed", f"{what}; the database has the pool (--db)")
    if (images["store_hosts"] != "").any():
        cloud.store_home = None


def name(cloud: Cloud) -> Iterator[Note]:
    """Set `store_ids` and `stores`: the stores of Glance that volume types name for uploads of their volumes.

    Cinder does not know whether a store is a Cinder store, nor its volume type. Without any image-volume none
    is set.
    """
    history = cloud.sources.history
    if history is None or "image_service_store_id" not in history.volume_types:
        return
    named = history.volume_types[["volume_type", "image_service_store_id"]].itertuples(index=False, name=None)
    asked = {tier: str(store_id) for tier, store_id in named if store_id and tier in cloud.tiers}
    told = ", ".join(f"of {tier} to {store_id}" for tier, store_id in asked.items())
    held = [tier for tier in history.stored["volume_type"] if tier in cloud.tiers]
    if asked and held:
        most = max(dict.fromkeys(held), key=held.count)
        cloud.store_ids = asked
        for store_id in asked.values():
            why = (
                "most image-volumes have this type; glance-api.conf has the store's own (cinder_volume_type)"
            )
            cloud.stores[store_id] = Assumed(most, why)
        yield Note("read", f"uploads go to other stores of Glance than the default one: {told}")
    elif asked:
        what = "no image-volume shows that these are Cinder stores, so the scenario has none of them"
        yield Note("read", f"uploads go to stores of Glance by their names: {told}; {what}")


def notes(cloud: Cloud) -> Iterator[Note]:
    """Notes on the Cinder store."""
    configuration, history = cloud.sources.configuration, cloud.sources.history
    glance = cloud.sources.glance
    if configuration is None:
        return
    if not configuration.allows_store:
        if cloud.has_store:
            what = "a Cinder store has image-volumes; allowed_direct_url_schemes lacks cinder"
            yield Note("read", f"{what}: Cinder never clones them and downloads these images from them")
        return
    if cloud.has_store:
        if cloud.store_home is None:
            what = "a Cinder store has image-volumes: strategies with the store have only these"
            then = "set store: {home: POOL} to simulate a store with all images"
            yield Note("read", f"{what}; {then}")
        yield from _attached(cloud)
        return
    looked = [name for name, one in (("the database", history), ("Glance", glance)) if one is not None]
    if looked:
        what = f"{' and '.join(looked)} shows no image-volume of a Cinder store: today's strategy has none"
        yield Note("read", f"{OPTION}, but {what}")
    else:
        what = "this alone does not mean a Cinder store (many deployment tools always set it)"
        then = "today's strategy has none; the database (--db) or Glance (--glance) would show a store"
        yield Note("assumed", f"{OPTION}: {what}; {then}")


def _attached(cloud: Cloud) -> Iterator[Note]:
    """Volume types of image-volumes that Glance attaches for one reader at a time."""
    history = cloud.sources.history
    if history is None or "multiattach" not in history.volume_types:
        return
    types = history.volume_types
    single = set(types.loc[~types["multiattach"].astype(bool), "volume_type"])
    found = sorted(single & set(history.stored["volume_type"]) & set(cloud.tiers))
    if found:
        what = f"image-volumes of the Cinder store have types that are not multiattach ({', '.join(found)})"
        then = "set multiattach: false of these tiers to simulate that Glance reads them for one at a time"
        yield Note("read", f"{what}; {then}")
