"""A real Glance whose Cinder refuses every attachment, and so every delete, of its image-volumes but one.

FREE can be attached. Cinder answers when there is a file `go` in Glance's folder.
Run as a script (see `tests.importers.glance_server.running`). It prints what glance_store asks and how long
it would wait; it does not wait.
"""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "importers"))

import glance_server
import glance_store._drivers.cinder.store as cinder_store
import retrying
from cinderclient import exceptions
from oslo_utils import units

FREE = "11111111-1111-4111-8111-111111111111"
TYPE = SimpleNamespace(name="flash")  # Glance finds the store of a new location by the volume's type


def attached(volume_id: str, connector: None, mode: str) -> Any:
    """The answer of Cinder's API (`_attachment_reserve`) as its client tells it."""
    print(f"attach {volume_id}", flush=True)
    while not Path(os.environ["OS_GLANCE_CONFIG_DIR"], "go").exists():
        time.sleep(0.05)
    if volume_id == FREE:
        return {"id": "attachment"}
    why = "status must be available or downloading to reserve, but the current status is in-use."
    raise exceptions.BadRequest(400, f"Invalid volume: Volume {volume_id} {why}")


def kept(volume_id: str) -> None:
    """The answer to a delete of a volume that is attached (`volume.api.API.delete`)."""
    print(f"delete {volume_id}", flush=True)
    raise exceptions.BadRequest(400, "Invalid volume: Volume status must be available or error")


def found(volume_id: str) -> Any:
    size = {"image_size": str(units.Gi)}
    shown = {"id": volume_id, "multiattach": False, "size": 1, "status": "in-use", "volume_type": TYPE.name}
    return SimpleNamespace(metadata=size, **shown)


CLIENT = SimpleNamespace(
    volumes=SimpleNamespace(get=found, delete=kept),
    attachments=SimpleNamespace(create=attached),
    volume_types=SimpleNamespace(default=lambda: TYPE),
)


@contextmanager
def opened(store: Any, client: Any, volume: Any, mode: str) -> Iterator[io.BytesIO]:
    """`Store._open_cinder_volume` without the connection to the volume."""
    store.volume_api.attachment_create(client, volume.id, mode=mode)
    yield io.BytesIO(b"data")


def main() -> None:
    retrying.time = SimpleNamespace(time=time.time, sleep=lambda s: print(f"wait {s:g}", flush=True))
    store: Any = cinder_store.Store
    store.configure_add = store._check_context = lambda *_, **__: None
    store.get_cinderclient = lambda *_, **__: CLIENT
    store._open_cinder_volume = opened
    glance_server.serve(int(sys.argv[1]))


if __name__ == "__main__":
    main()
