"""GiB and hosts as Cinder's own code has them."""

from __future__ import annotations

import itertools

import pytest
from cinder import exception
from cinder.image import image_utils
from cinder.volume import volume_utils

from sim.inputs.hosts import backend_of, host_of, parts_of
from sim.inputs.images import Image
from sim.inputs.units import GIB, MIB, MIB_PER_GIB

# Whole GiB and what is beside them; above 2^53 bytes floating point rounds, and whole numbers do not.
SIZES = (1, GIB - 1, GIB, GIB + 1, 5 * GIB, 5 * GIB + 1, 2**53 + 1, 2**60 - 1)


@pytest.mark.parametrize(("size", "virtual"), list(itertools.product(SIZES, SIZES)))
def test_gib_are_those_that_cinder_asks_for(size: int, virtual: int) -> None:
    image = Image(
        image_id="i",
        name="",
        disk_format="raw",
        container_format="bare",
        size_bytes=size,
        virtual_size_bytes=virtual,
    )
    metadata = {"id": "i", "status": "active", "size": size, "virtual_size": virtual}
    assert image.virtual_gib == image_utils.check_virtual_size(virtual, 2**40, "i")
    volume_utils.check_image_metadata(metadata, image.needs_gib)
    with pytest.raises((exception.InvalidInput, exception.ImageUnacceptable)):
        volume_utils.check_image_metadata(metadata, image.needs_gib - 1)
    volume_utils.check_image_metadata(metadata | {"virtual_size": None}, image.size_gib)
    with pytest.raises(exception.InvalidInput):
        volume_utils.check_image_metadata(metadata | {"virtual_size": None}, image.size_gib - 1)


def test_a_gib_is_1024_mib() -> None:
    assert (MIB_PER_GIB, GIB, MIB) == (1024, 1024**3, 1024**2)


@pytest.mark.parametrize(("backend", "pool"), [("flash-a", "p0"), ("b", "a.b"), ("b", "")])
def test_the_parts_of_a_host_are_cinders(backend: str, pool: str) -> None:
    host = host_of(backend, pool)
    assert parts_of(host) == (backend, pool)
    assert backend_of(host) == volume_utils.extract_host(host, "backend") == backend_of(backend)
    assert parts_of(host)[1] == volume_utils.extract_host(host, "pool")
