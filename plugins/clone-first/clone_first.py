"""A weigher for Cinder's scheduler: pools that can clone the image of a request come first.

Cinder's own weighers do not look at where an image is cached or stored, so that every pool fills a cache of
its own. This one prefers pools where the volume manager would find a source to clone: it follows
`CreateVolumeFromSpecTask` (cinder/volume/flows/manager/create_volume.py) and `ImageVolumeCache`
(cinder/image/cache.py). The other weighers decide among equals.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar, NamedTuple
from urllib.parse import urlsplit

from cinder import exception
from cinder.db import api as db  # every release has the two calls below there
from cinder.image import glance
from cinder.scheduler import weights
from cinder.volume import volume_utils
from oslo_config import cfg
from oslo_log import log as logging
from oslo_utils import timeutils, uuidutils

OPTIONS = [
    cfg.FloatOpt(
        "prefer_clones_multiplier",
        default=10.0,
        help="Multiplier of PreferClonesWeigher. If it is more than the multipliers of all other weighers "
        "together, without their signs, a pool that can clone the image always comes first.",
    ),
    cfg.IntOpt(
        "prefer_clones_image_cache_time",
        default=10,
        min=0,
        help="For so many seconds the scheduler keeps what Glance tells of an image, and where the Cinder "
        "store has its image-volumes. 0 asks for each request.",
    ),
    cfg.IntOpt(
        "prefer_clones_retry_interval",
        default=60,
        min=0,
        help="For so many seconds after a failure the scheduler asks nothing, and prefers no pool.",
    ),
    cfg.ListOpt(
        "prefer_clones_drivers",
        default=[],
        help="Backends, as after the @ of a host, whose driver clones raw images from Glance itself, such as "
        "RBD beside Glance on the same Ceph cluster.",
    ),
    cfg.ListOpt(
        "prefer_clones_across_pools",
        default=[],
        help="Backends, as after the @ of a host, whose driver has the capability clone_across_pools. "
        "The scheduler does not see this capability.",
    ),
]

CONF = cfg.CONF
CONF.register_opts(OPTIONS)
LOG = logging.getLogger(__name__)


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """What oslo-config-generator writes of this module."""
    return [("DEFAULT", OPTIONS)]


class Source(NamedTuple):
    """A volume from which others can be cloned. Host and cluster name are Cinder's, with the pool."""

    host: str
    cluster_name: str | None

    @property
    def array(self) -> str:
        return _array(self.cluster_name or self.host)

    def serves(self, pool: Any) -> bool:
        """Whether a look-up for a volume on this pool finds it; a cluster's look-ups are by its name."""
        if pool.cluster_name:
            return bool(self.cluster_name == pool.cluster_name)
        return bool(self.host == pool.host)


class Image(NamedTuple):
    """What a project gets of an image; `stored`: its volumes in the Cinder store, the newest first."""

    raw: bool
    updated_at: datetime
    stored: tuple[Source, ...]


class Images:
    """Images as Glance had them, each kept for a short time."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], tuple[float, Image | None]] = {}

    def get(self, context: Any, image_id: str, project: str) -> Image | None:
        """None: Glance does not have it, or not for this request."""
        now = time.monotonic()
        self._kept = {key: kept for key, kept in self._kept.items() if kept[0] > now}
        if (image_id, project) not in self._kept:
            until = now + CONF.prefer_clones_image_cache_time
            self._kept[image_id, project] = until, _image(context, image_id, project)
        return self._kept[image_id, project][1]


def _image(context: Any, image_id: str, project: str) -> Image | None:
    service = glance.get_default_image_service()
    uses_store = "cinder" in CONF.allowed_direct_url_schemes
    try:
        meta = service.show(context, image_id)
        direct, others = service.get_location(context, image_id) if uses_store else (None, [])
    except exception.ImageNotFound:
        return None
    urls = [direct, *(each.get("url") for each in others or [])]
    raw = meta.get("disk_format") == "raw"
    can_clone = raw and meta.get("container_format") == "bare"
    ids = [each for each in map(_volume_of, urls) if each] if can_clone else []
    return Image(
        raw,
        timeutils.normalize_time(meta["updated_at"]),
        tuple(_stored(context, ids, meta["owner"], project)) if ids else (),
    )


def _stored(context: Any, ids: list[str], owner: str, project: str) -> list[Source]:
    """Image-volumes that may be cloned: the image's owner asks, or is noted as their `image_owner`."""
    found = db.volume_get_all(context.elevated(), filters={"id": ids})
    return [
        Source(volume["host"], volume["cluster_name"])
        for volume in found
        if owner == project or owner == _image_owner(volume)
    ]


def _image_owner(volume: Any) -> str | None:
    found = (each["value"] for each in volume["volume_metadata"] or [] if each["key"] == "image_owner")
    return next(found, None)


def _volume_of(url: str | None) -> str:
    """The volume of a location in the Cinder store, `cinder://VOLUME` or `cinder://STORE/VOLUME`; else ''."""
    parts = urlsplit(url or "")
    volume = parts.path.split("/")[-1] or parts.netloc
    return volume if parts.scheme == "cinder" and uuidutils.is_uuid_like(volume) else ""


def _array(host: str) -> str:
    return str(volume_utils.extract_host(host, "backend"))


class PreferClonesWeigher(weights.BaseHostWeigher):  # type: ignore[misc]
    """1 for a pool that can clone the request's image now, else 0; 0 for all if anything fails."""

    images: ClassVar[Images] = Images()
    asks_again: ClassVar[float] = 0.0  # after a failure: the time of the monotonic clock
    failing: ClassVar[bool] = False

    def weight_multiplier(self) -> float:
        return float(CONF.prefer_clones_multiplier)

    def weigh_objects(self, weighed_obj_list: list[Any], weight_properties: dict[str, Any]) -> list[float]:
        nothing = [0.0] * len(weighed_obj_list)
        spec = weight_properties.get("request_spec") or {}
        volume = spec.get("volume_properties") or {}
        # There is nothing to choose, nothing to clone, or it may not be cloned.
        if len(weighed_obj_list) < 2 or not spec.get("image_id") or volume.get("encryption_key_id"):
            return nothing
        if time.monotonic() < PreferClonesWeigher.asks_again:
            return nothing
        try:
            can_clone = self._look(weight_properties["context"], spec["image_id"], volume["project_id"])
            found = [float(can_clone(each.obj)) for each in weighed_obj_list]
        except Exception as error:
            self._failed(error)
            return nothing
        if PreferClonesWeigher.failing:
            PreferClonesWeigher.failing = False
            LOG.info("PreferClonesWeigher works again.")
        return found

    def _weigh_object(self, host_state: Any, weight_properties: dict[str, Any]) -> float:
        raise NotImplementedError  # all at once, above, with one query

    def _look(self, context: Any, image_id: str, project: str) -> Callable[[Any], bool]:
        """Whether a pool has a source for a project's volume from an image."""
        image = self.images.get(context, image_id, project)
        if image is None:
            return lambda pool: False
        entries = db.image_volume_cache_get_all(context, image_id=image_id)  # the latest used first

        def can_clone(pool: Any) -> bool:
            array = _array(pool.backend_id)
            name = array.partition("@")[2]
            if image.raw and name in CONF.prefer_clones_drivers:
                return True
            across = name in CONF.prefer_clones_across_pools
            stored = next((each for each in image.stored if across or each.serves(pool)), None)
            if stored is not None and stored.array == array:
                return True
            in_cache = [(Source(each["host"], each["cluster_name"]), each) for each in entries]
            everywhere = across and not pool.cluster_name  # a cluster's cache does not cross pools
            for source, entry in in_cache:
                if everywhere or source.serves(pool):
                    return source.array == array and bool(entry["image_updated_at"] == image.updated_at)
            return False

        return can_clone

    @staticmethod
    def _failed(error: Exception) -> None:
        """One warning until it works again."""
        pause = CONF.prefer_clones_retry_interval
        PreferClonesWeigher.asks_again = time.monotonic() + pause
        if PreferClonesWeigher.failing:
            LOG.debug("PreferClonesWeigher still fails: %s", error)
            return
        PreferClonesWeigher.failing = True
        LOG.warning(
            "PreferClonesWeigher prefers no pool, and tries again every %(pause)s s: %(error)r",
            {"pause": pause, "error": error},
        )
