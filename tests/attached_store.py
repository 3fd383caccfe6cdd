"""A real Glance whose Cinder refuses every attachment, and so every delete, of its image-volumes.

Run as a script (see `tests.importers.glance_server.running`). It prints what glance_store asks and how long
it would wait; it does not wait.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "importers"))

import glance_server
import glance_store._drivers.cinder.store as cinder_store
import retrying
from cinderclient import exceptions
from oslo_utils import units


def refused(volume_id: str, connector: None, mode: str) -> None:
    """The answer of Cinder's API (`_attachment_reserve`) as its client tells it."""
    print(f"attach {volume_id}", flush=True)
    why = "status must be available or downloading to reserve, but the current status is in-use."
    raise exceptions.BadRequest(400, f"Invalid volume: Volume {volume_id} {why}")


def kept(volume_id: str) -> None:
    """The answer to a delete of a volume that is attached (`volume.api.API.delete`)."""
    print(f"delete {volume_id}", flush=True)
    raise exceptions.BadRequest(400, "Invalid volume: Volume status must be available or error")


def found(volume_id: str) -> Any:
    size = {"image_size": str(units.Gi)}
    return SimpleNamespace(id=volume_id, multiattach=False, size=1, metadata=size, status="in-use")


CLIENT = SimpleNamespace(
    volumes=SimpleNamespace(get=found, delete=kept), attachments=SimpleNamespace(create=refused)
)


def main() -> None:
    retrying.time = SimpleNamespace(time=time.time, sleep=lambda s: print(f"wait {s:g}", flush=True))
    cinder_store.connector = SimpleNamespace(get_connector_properties=lambda *_, **__: {})
    cinder_store.priv_context.init = lambda **_: None
    store: Any = cinder_store.Store
    store.configure_add = store._check_context = lambda *_, **__: None
    store.get_cinderclient = lambda *_, **__: CLIENT
    glance_server.serve(int(sys.argv[1]))


if __name__ == "__main__":
    main()
