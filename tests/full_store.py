"""Prints what Glance's client raises if the store raises something: Glance's API itself answers.

It runs in a process of its own, because Glance and Cinder have options of the same names.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock, patch

from cinderclient.exceptions import OverLimit
from glance.api.v2 import image_data
from glance_store import StorageFull
from glanceclient.exc import from_response


def raised(by_store: Exception) -> str:
    """The name of the client's exception."""
    image = SimpleNamespace(status="queued", set_data=Mock(side_effect=by_store))
    repository = SimpleNamespace(get=lambda _: image, save=lambda *_, **__: None)
    controller: Any = image_data.ImageDataController.__new__(image_data.ImageDataController)
    controller.gateway, controller.policy = SimpleNamespace(get_repo=lambda _: repository), None
    asked = SimpleNamespace(context=SimpleNamespace(owner="p", read_only=False), environ={}, headers={})
    try:
        with patch.multiple(image_data, api_policy=Mock(), ks_quota=Mock()):
            controller.upload(asked, "i", b"", None)
    except Exception as error:
        status = getattr(error, "status_int", 500)  # what Glance does not know is an internal error
        return type(from_response(SimpleNamespace(status_code=status, headers={}, content=b""))).__name__
    return ""


print(raised(StorageFull()), raised(OverLimit(413)))
