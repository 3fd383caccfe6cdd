"""Image-volumes that Glance has attached to read them, as glance_store's Cinder driver does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from glanceclient.exc import HTTPInternalServerError

from sim.cinder.clock import Clock
from sim.cinder.database import Volume
from sim.model.repeats import repeats
from sim.model.rules import ATTACH_TRIES, attach_wait_s

ANSWER = "500 Internal Server Error"  # to a download whose image cannot be read


class Attachments:
    """Knows which volumes of the types `one_at_a_time` are attached; `volumes` are Cinder's by id."""

    def __init__(self, clock: Clock, volumes: Mapping[str, Volume], one_at_a_time: frozenset[str]) -> None:
        self._clock = clock
        self._volumes = volumes
        self._one_at_a_time = one_at_a_time
        self._attached: set[str] = set()

    def __contains__(self, volume: Volume) -> bool:
        return volume.id in self._attached

    @contextmanager
    def one_of(self, locations: Iterable[Volume]) -> Iterator[None]:
        """Meanwhile the first of an image's locations that can be attached is attached.

        Raises HTTPInternalServerError, Glance's answer to Cinder, if none can be (`ImageProxy.get_data` in
        glance/location.py, `Store.get` in glance_store/_drivers/cinder/store.py).
        """
        volume = next(filter(self._attach, locations), None)
        if volume is None:
            raise HTTPInternalServerError(ANSWER)
        try:
            yield
        finally:
            self._attached.discard(volume.id)

    @repeats("cinder.volume.api:API", "_attachment_reserve")
    def _attach(self, volume: Volume) -> bool:
        """glance_store's five tries, until Cinder accepts one of them, or does not have the volume."""
        for refused in range(ATTACH_TRIES):
            self._clock.sleep(attach_wait_s(refused))
            if volume.id not in self._volumes:
                return False
            if volume.status == "available" and volume not in self:
                if volume.volume_type_id in self._one_at_a_time:
                    self._attached.add(volume.id)
                return True
        return False
