"""Each strategy as options of Cinder and image-volumes at the start; strategies differ only in these."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Strategy:
    """The settings of a strategy.

    - allowed_direct_url_schemes: Cinder's option. With `cinder` in it, image-volumes of the Cinder store
      exist from the start, where the scenario says.
    - replicated: they exist on every pool instead, for raw images only.
    - on_demand: the store's home is not used. Instead, a download of a raw image leaves an image-volume on
      its pool and adds its location to the image.
    - image_volume_cache_enabled: True keeps the setting of each backend; False turns the cache off
      everywhere.
    """

    name: str
    allowed_direct_url_schemes: tuple[str, ...]
    image_volume_cache_enabled: bool
    replicated: bool = False
    on_demand: bool = False

    @property
    def uses_store(self) -> bool:
        """Whether Cinder may clone images of the Cinder store."""
        return "cinder" in self.allowed_direct_url_schemes

    @property
    def stores_later(self) -> bool:
        """Whether events `store_image` put images into the store (replicated: they are there already)."""
        return self.uses_store and not self.replicated


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
