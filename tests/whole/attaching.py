"""Glance reads an image from the Cinder store: glance_store's own tries, and Cinder's own refusals.

Nothing connects to the volume: the attachment stays reserved until the image is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from cinder import exception, objects
from glanceclient.exc import HTTPInternalServerError

from .cloud import volume_in
from .process import admin


@contextmanager
def attached(run: Any, uuid: str) -> Iterator[None]:
    """Meanwhile the first location of an image that can be attached is (`ImageProxy.get_data` of Glance)."""
    image = run.glance.images.get(uuid)
    if image is None or not image.stored_first or run.glance.rate is None:
        yield
        return
    for url in list(image.urls):
        if url in image.urls and run.glance.images.get(uuid) is image:
            attachment = _attach(run, volume_in(url))
            if attachment is not None:
                break
    else:
        raise HTTPInternalServerError
    try:
        yield
    finally:
        for one in attachment:
            run.api.attachment_delete(admin(), one)


def _attach(run: Any, volume_id: str) -> list[Any] | None:
    """The attachments of a volume for one reader; None if there is none."""
    try:
        volume = objects.Volume.get_by_id(admin(), volume_id)
    except exception.VolumeNotFound:
        return None
    if volume.status == "available" and run.tier_of(volume).multiattach:
        return []
    cinder_exception = pytest.importorskip("cinderclient.exceptions", reason="glance_store is not installed")
    from glance_store import exceptions
    from glance_store.common import cinder_utils

    def create(volume_id: str, connector: None, mode: str) -> Any:
        """`POST /attachments` of Cinder's API: what its code raises, as its client tells it."""
        try:
            found = objects.Volume.get_by_id(admin(), volume_id)
            return run.api.attachment_create(admin(), found, None, connector, mode)
        except exception.VolumeNotFound as error:
            raise cinder_exception.NotFound(404, error.msg) from error
        except exception.InvalidVolume as error:
            raise cinder_exception.BadRequest(400, error.msg) from error

    client = SimpleNamespace(attachments=SimpleNamespace(create=create))
    try:
        return [cinder_utils.API().attachment_create(client, volume_id, mode="ro")]
    except (cinder_exception.BadRequest, exceptions.BackendException):
        return None
