"""Plays a trace against a lab's Cinder API in real time, and records what a client sees."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kombu
import pandas as pd

from lab import images
from lab.cloud import THREADS, Lab
from sim.inputs.scenario import Case

GIVE_UP_S = 600  # after the last event
POLL_S = 2.0
GIVEN = ("volume_id", "image_id", "volume_type", "size_gib", "time")  # of a create in the trace


@dataclass
class Seen:
    """A create as its client saw it. Times are seconds from the start of the play, NaN: it did not happen."""

    volume_id: str
    image_id: str
    volume_type: str
    size_gib: int
    time: float
    asked: float = float("nan")
    accepted: float = float("nan")
    end: float = float("nan")
    deleted: float = float("nan")
    cinder_id: str = ""
    request_id: str = ""
    status: str = ""
    host: str = ""
    final: threading.Event = field(default_factory=threading.Event, repr=False)


class Notifications(threading.Thread):
    """Reads Cinder's notifications from RabbitMQ, writes them into a file, and tells who listens."""

    def __init__(self, lab: Lab, tell: Callable[[dict[str, Any]], None]) -> None:
        super().__init__(daemon=True)
        self.path, self.tell, self.ended = lab.folder / "notifications.jsonl", tell, threading.Event()
        self.url = lab.broker
        self.ready = threading.Event()

    def run(self) -> None:
        queues = [
            kombu.Queue(name, kombu.Exchange("cinder", "topic", durable=False), name, durable=False)
            for name in ("notifications.info", "notifications.error", "notifications.warn")
        ]
        with (
            kombu.Connection(self.url) as connection,
            self.path.open("a") as file,
            connection.Consumer(queues, callbacks=[lambda body, message: self._take(file, body, message)]),
        ):
            self.ready.set()
            while not self.ended.is_set():
                with suppress(TimeoutError):
                    connection.drain_events(timeout=0.5)

    def _take(self, file: Any, body: Any, message: Any) -> None:
        message.ack()
        if isinstance(body, str | bytes):
            body = json.loads(body)
        file.write(json.dumps(body) + "\n")
        file.flush()
        self.tell(json.loads(body["oslo.message"]) if "oslo.message" in body else body)


class Player:
    """One play of a case on a lab."""

    def __init__(self, case: Case, lab: Lab) -> None:
        self.case, self.lab = case, lab
        self.volume = lab.block_storage()
        self.image = lab.connection().image
        self.glance_ids: dict[str, str] = {}
        self.seen: dict[str, Seen] = {}
        self.of: dict[str, Seen] = {}  # by Cinder's ID
        self.start = 0.0
        self.notifications = Notifications(lab, self._told)

    def upload(self, folder: Path) -> None:
        """Puts the images of the case into Glance."""
        for name, path in images.make(folder, self.case.images).items():
            image = self.case.images[name]
            made = self.image.create_image(
                name=image.name,
                disk_format=image.disk_format,
                container_format=image.container_format,
                visibility="public",
                filename=str(path),
                validate_checksum=False,
            )
            self.glance_ids[name] = made.id

    def play(self) -> pd.DataFrame:
        """A row for each create, in trace order, when all have ended and all deletes are done."""
        self.notifications.start()
        self.notifications.ready.wait(60)
        poller_end = threading.Event()
        events = self.case.trace.events.to_dict("records")
        for row in events:
            if row["event"] == "create":
                self.seen[row["volume_id"]] = Seen(**{name: row[name] for name in GIVEN})
        poller = threading.Thread(target=self._poll, args=(poller_end,), daemon=True)
        with ThreadPoolExecutor(THREADS) as pool:
            self.start = time.time() + 1
            poller.start()
            sent = []
            for row in events:
                time.sleep(max(0.0, self.start + row["time"] - time.time()))
                sent.append(pool.submit(getattr(self, f"_{row['event']}"), row))
            end = time.time() + GIVE_UP_S
            for one in self.seen.values():
                one.final.wait(max(0.0, end - time.time()))
            for future in sent:
                future.result()
        self._settle(end)
        poller_end.set()
        poller.join()
        self.notifications.ended.set()
        self.notifications.join()
        return pd.DataFrame([vars(one) for one in self.seen.values()]).drop(columns="final")

    def _create(self, row: dict[Any, Any]) -> None:
        one = self.seen[row["volume_id"]]
        body = {"size": int(one.size_gib), "imageRef": self.glance_ids[one.image_id], "name": one.volume_id}
        one.asked = time.time() - self.start
        answer = self.volume.post(
            "/volumes", json={"volume": body | {"volume_type": one.volume_type}}, raise_exc=False
        )
        one.accepted = time.time() - self.start
        one.request_id = answer.headers.get("x-openstack-request-id", "")
        if not answer.ok:
            one.status, one.end = "error", one.accepted
            one.final.set()
            return
        one.cinder_id = answer.json()["volume"]["id"]
        self.of[one.cinder_id] = one

    def _delete(self, row: dict[Any, Any]) -> None:
        one = self.seen[row["volume_id"]]
        if one.final.wait(GIVE_UP_S) and one.cinder_id:
            self.volume.delete(f"/volumes/{one.cinder_id}", raise_exc=False)

    def _update_image(self, row: dict[Any, Any]) -> None:
        self.image.update_image(self.glance_ids[row["image_id"]], played=str(time.time()))

    def _told(self, message: dict[str, Any]) -> None:
        """A notification: it has the time at which Cinder sent it."""
        event, payload = message["event_type"], message["payload"]
        if event not in ("volume.create.end", "volume.delete.end"):
            return
        at = datetime.fromisoformat(message["timestamp"]).replace(tzinfo=UTC).timestamp() - self.start
        if not self.start or at < 0:
            return  # of a volume that somebody made before the play
        for _ in range(100):  # the answer to the client may still be under way
            one = self.of.get(payload["volume_id"])
            if one or payload["tenant_id"] != "lab":
                break
            time.sleep(0.1)
        if one and event == "volume.create.end":
            one.end, one.status = at, "available"
            one.final.set()
        elif one:
            one.deleted = at

    def _poll(self, end: threading.Event) -> None:
        """Finds failures, of which not all are notified with the volume's end."""
        while not end.wait(POLL_S):
            for volume in self.volume.get("/volumes?status=error").json().get("volumes", []):
                one = self.of.get(volume["id"])
                if one and not one.final.is_set():
                    one.end, one.status = time.time() - self.start, "error"
                    one.final.set()

    def _settle(self, end: float) -> None:
        """Waits until nothing is made or deleted, and reads where the volumes are."""
        while time.time() < end:
            rows = self.lab.query(
                "select status from volumes where deleted = 0 and status not in "
                "('available', 'error', 'error_deleting')"
            )
            if not rows:
                break
            time.sleep(1)
        hosts = self.lab.query("select id, host from volumes")
        for row in hosts:
            if row["id"] in self.of:
                self.of[row["id"]].host = (row["host"] or "").split("@")[-1]
