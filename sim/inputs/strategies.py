"""Each strategy as Cinder options and image-volumes put in place; nothing else tells strategies apart."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Strategy:
    """What a strategy sets.

    `allowed_direct_url_schemes` is Cinder's option; with `cinder` in it, image-volumes of the Cinder store
    are in place from the start: where the scenario says, or, if `replicated`, those of raw images on every
    pool, and no others. If `on_demand`, the store's home is not used; instead a download of a raw image
    leaves an image-volume on its pool and adds its location to the image. `image_volume_cache_enabled` lets
    the backends' own setting stand (True) or turns the image-volume cache off everywhere (False).
    """

    name: str
    allowed_direct_url_schemes: tuple[str, ...]
    image_volume_cache_enabled: bool
    replicated: bool = False
    on_demand: bool = False

    @property
    def uses_store(self) -> bool:
        """Whether images of the Cinder store may be cloned."""
        return "cinder" in self.allowed_direct_url_schemes


STRATEGIES = {
    strategy.name: strategy
    for strategy in (
        Strategy("none", (), False),
        Strategy("store-only", ("cinder",), False),
        Strategy("cache-only", (), True),
        Strategy("combined", ("cinder",), True),
        Strategy("replicated-store", ("cinder",), False, replicated=True),
        Strategy("on-demand-store", ("cinder",), False, on_demand=True),
    )
}
