"""What is simulated of Glance's Cinder store, against Glance and glance_store themselves."""

from __future__ import annotations

import errno
import io
import itertools
import math
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cinderclient.exceptions import OverLimit
from glanceclient.v2.images import Controller

from sim.model.rules import ATTACH_TRIES, attach_wait_s, polled_s
from tests.importers.glance_server import Server, running

cinder_store = pytest.importorskip("glance_store._drivers.cinder.store")
BackendException, StorageFull = cinder_store.exceptions.BackendException, cinder_store.exceptions.StorageFull
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


class Volumes:
    """Cinder's client, as glance_store asks it. Whatever it asks for is done when `step_s` have passed.

    `refuses`: how Cinder answers to an extension. Its quota raises an exception, the scheduler leaves the
    volume as it is, and the array leaves it in an error.
    """

    def __init__(self, step_s: float, refuses: str = "") -> None:
        self.step_s, self.now, self.done_at, self.refuses = step_s, 0.0, 0.0, refuses
        self.asked: list[int] = []
        self.deleted = False
        self.then = "available"
        self.volume = SimpleNamespace(id="v", status="available", size=0, extend=self.extend)
        self.volume.delete = lambda: setattr(self, "deleted", True)
        self.volume.update_all_metadata = self.volume.update_readonly_flag = lambda *_: None

    def create(self, _client: Any, size_gib: int, **_: Any) -> Any:
        return self.change(size_gib, "creating")

    def extend(self, _volume: Any, size_gib: int) -> None:
        if self.refuses == "quota":
            raise OverLimit(413)
        size = self.volume.size
        self.change(size_gib, "extending")
        if self.refuses:
            self.volume.size = size
            self.then = {"scheduler": "available", "array": "error_extending"}[self.refuses]

    def open(self, *_: Any) -> Any:
        """The volume as a device, which has no room beyond its end. What is a GiB is here a KiB."""
        return nullcontext(Device(self.volume.size * 1024))

    def change(self, size_gib: int, status: str) -> Any:
        self.asked.append(size_gib)
        self.volume.size, self.volume.status = size_gib, status
        self.done_at = self.now + self.step_s
        return self.volume

    def get(self, *_: Any) -> Any:
        if self.now >= self.done_at:
            self.volume.status = self.then
        return self.volume

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Device(io.BytesIO):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > self.size:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


def added(volumes: Volumes, data: bytes, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have glance_store write data into a volume: `Store.add`, with KiB for GiB."""
    monkeypatch.setattr(cinder_store, "units", SimpleNamespace(Gi=1024))
    monkeypatch.setattr(cinder_store, "time", SimpleNamespace(sleep=volumes.sleep))
    store: Any = cinder_store.Store.__new__(cinder_store.Store)
    options = {"cinder_state_transition_timeout": 300, "cinder_volume_type": "flash"}
    store.store_conf = SimpleNamespace(**options, cinder_do_extend_attached=False)
    store.volume_api, store.backend_group, store.WRITE_CHUNKSIZE = volumes, "vol", 256
    store.is_capable = lambda *_: True
    store._check_context = lambda *_, **__: None
    store.get_cinderclient = lambda *_, **__: None
    store._open_cinder_volume = volumes.open
    store.add("i", io.BytesIO(data), size, "sha512", SimpleNamespace(project_id="p"))


@pytest.mark.parametrize("create_s", [0.1, 0.5, 0.7, 15.5, 16, 300.5])
def test_glance_store_sees_a_new_volume_at_its_looks(
    create_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    volumes = Volumes(create_s)
    added(volumes, b"data", 4, monkeypatch)
    assert volumes.now == polled_s(create_s)


def test_glance_store_gives_up_after_300_s(monkeypatch: pytest.MonkeyPatch) -> None:
    volumes = Volumes(300.6)
    with pytest.raises(BackendException, match="Timeout"):
        added(volumes, b"data", 4, monkeypatch)
    assert (volumes.now, polled_s(300.6)) == (300.5, math.inf)


@pytest.mark.parametrize(("known", "asked"), [(True, [3]), (False, [1, 2, 3])])
def test_glance_store_extends_a_volume_step_by_step_if_it_does_not_know_the_size(
    known: bool, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A create or an extension is seen at the same looks."""
    volumes = Volumes(0.7)
    added(volumes, bytes(2500), 2500 if known else 0, monkeypatch)
    assert volumes.asked == asked
    assert volumes.now == len(asked) * polled_s(0.7)


@pytest.mark.parametrize(
    ("refuses", "raised"), [("quota", OverLimit), ("scheduler", StorageFull), ("array", StorageFull)]
)
def test_glance_store_deletes_a_volume_that_it_cannot_extend(
    refuses: str, raised: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes a volume that is as before for one that was extended, and finds no space on it."""
    volumes = Volumes(0.7, refuses)
    with pytest.raises(raised):
        added(volumes, bytes(2500), 0, monkeypatch)
    assert volumes.deleted and volumes.now == polled_s(0.7) * (1 if refuses == "quota" else 2)


def test_what_cinder_hears_if_the_store_is_full() -> None:
    """Glance answers 413 to a full store. It does not know what Cinder's client raises, and answers 500."""
    script = Path(__file__).with_name("full_store.py")
    command = [sys.executable, "-W", "ignore", str(script)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["HTTPOverLimit", "HTTPInternalServerError"]


def test_glance_store_gives_an_extension_up_after_300_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """And asks Cinder to delete the volume, which refuses it: the volume is still extended."""
    volumes = Volumes(0.0)
    volumes.volume.extend = lambda *_: setattr(volumes, "step_s", 300.6) or volumes.change(2, "extending")
    with pytest.raises(StorageFull):
        added(volumes, bytes(2500), 0, monkeypatch)
    assert volumes.now == 300.5 and volumes.deleted


def test_cinder_tells_glance_no_size_of_an_upload() -> None:
    """It gives its client the data alone (`GlanceImageService.update`), which sends them in chunks."""
    sent: list[dict[str, Any]] = []
    answer = SimpleNamespace(headers={})
    http = SimpleNamespace(put=lambda _, **asked: (sent.append(asked) or answer, None))
    Controller(http, None).upload("i", io.BytesIO(b"data"))
    assert sent[0]["headers"] == {"Content-Type": "application/octet-stream"}
