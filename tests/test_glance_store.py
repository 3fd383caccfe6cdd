"""What is simulated of Glance's Cinder store, against Glance and glance_store themselves."""

from __future__ import annotations

import itertools
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import pytest

from sim.model.rules import ATTACH_TRIES, attach_wait_s
from tests.importers.glance_server import running

pytest.importorskip("glance_store")


def test_a_real_glance_tries_each_location_five_times(tmp_path: Path) -> None:
    """In their order; then it answers 500, as it does to a delete of the image, which stays."""
    script, stores = Path(__file__).with_name("attached_store.py"), "files:file, vol:cinder"
    with running(tmp_path, script, enabled_backends=stores) as glance:
        image = glance.image(b"data")
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
