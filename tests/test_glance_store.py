"""What is simulated of Glance's Cinder store, against Glance and glance_store themselves."""

from __future__ import annotations

import itertools
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any

import pytest

from sim.model.rules import ATTACH_TRIES, attach_wait_s
from tests.importers.glance_server import Server, running

pytest.importorskip("glance_store")
SCRIPT = Path(__file__).with_name("attached_store.py")
STORES = "files:file, vol:cinder"
FREE = "11111111-1111-4111-8111-111111111111"  # of the script: it can be attached


def test_a_real_glance_tries_each_location_five_times(tmp_path: Path) -> None:
    """In their order; then it answers 500, as it does to a delete of the image, which stays."""
    with running(tmp_path, SCRIPT, enabled_backends=STORES) as glance:
        image = glance.image(b"data")
        (tmp_path / "go").touch()
        volumes = [str(uuid.uuid4()) for _ in range(2)]
        glance.locate(image, *(f"cinder://vol/{volume}" for volume in volumes), store="vol")
        asked = urllib.request.Request(
            f"{glance.url}/v2/images/{image}/file", headers={"X-Auth-Token": "admin:ops"}
        )
        with pytest.raises(urllib.error.HTTPError, match="500"):
            urllib.request.urlopen(asked)
        with pytest.raises(urllib.error.HTTPError, match="500"):
            glance.ask("DELETE", f"/images/{image}")
        assert glance.ask("GET", f"/images/{image}")["status"] == "active"
        log = (tmp_path / "log").read_text().splitlines()
    said = [line for line in log if line.startswith(("attach ", "wait ", "delete "))]
    tries = [[f"wait {attach_wait_s(refused):g}", "attach"] for refused in range(ATTACH_TRIES)]
    expected = list(itertools.chain(*tries))[1:]
    assert said == [
        f"attach {volume}" if line == "attach" else line for volume in volumes for line in expected
    ] + [f"delete {volumes[0]}"]


def saved_after(glance: Server, image: str, before: str) -> dict[str, Any]:
    """The image as Glance tells it when its `updated_at` has changed."""
    until = time.monotonic() + 60
    while (found := glance.ask("GET", f"/images/{image}"))["updated_at"] == before:
        if time.monotonic() > until:
            raise TimeoutError(str(found))
        time.sleep(0.1)
    return dict(found)


def test_a_real_glance_saves_an_image_again_when_it_is_hashed(tmp_path: Path) -> None:
    """It is active before, and stays so if the hash fails because others read: `updated_at` changes, too."""
    with running(tmp_path, SCRIPT, enabled_backends=STORES) as glance:
        for volume, hashed in ((FREE, True), (str(uuid.uuid4()), False)):
            (tmp_path / "go").unlink(missing_ok=True)
            image = glance.image()
            body = {"url": f"cinder://vol/{volume}", "validation_data": {}}
            glance.ask("POST", f"/images/{image}/locations", body, token="service:ops")
            while f"attach {volume}" not in (tmp_path / "log").read_text():
                time.sleep(0.1)
            before = glance.ask("GET", f"/images/{image}")
            assert (before["status"], before["os_hash_value"]) == ("active", None)
            time.sleep(1.1)  # the API tells whole seconds
            (tmp_path / "go").touch()
            after = saved_after(glance, image, before["updated_at"])
            assert after["status"] == "active"
            assert not hashed or after["os_hash_value"]
