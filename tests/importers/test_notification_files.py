"""Notifications in all that carries them: each file tells the same as plain lines."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sim.importers import notifications
from sim.importers.notifications import Telemetry
from sim.inputs.problems import Problems

HOST, IMAGE = "c1@flash#p0", "0b5bd8b1-5a8a-4c0e-8a0e-000000000001"
Message = dict[str, Any]


def notification(event_type: str, second: int, payload: Message) -> Message:
    return {
        "message_id": f"{event_type} {second}",
        "publisher_id": "volume.c1@flash",
        "event_type": event_type,
        "timestamp": f"2026-03-01 00:00:{second:02}.000000",
        "priority": "INFO",
        "payload": payload,
    }


VOLUME: Message = {
    "volume_id": "v1",
    "host": HOST,
    "size": 5,
    "volume_type": "gold-id",
    "tenant_id": "alice",
    "display_name": 'a } "name" | with\tall {',
    "created_at": "2026-03-01T00:00:01",
    "launched_at": "2026-03-01T00:00:05",
    "glance_metadata": [{"key": "image_id", "value": IMAGE}, {"key": "size", "value": "100"}],
}
SENT = [
    notification("volume.create.start", 1, VOLUME),
    notification("image_volume_cache.miss", 2, {"image_id": IMAGE, "host": HOST}),
    notification("volume.create.end", 5, VOLUME),
    notification("volume.delete.start", 9, VOLUME),
]


def envelope(message: Message) -> Message:
    return {"oslo.version": "2.0", "oslo.message": json.dumps(message)}


def logged(message: Message) -> str:
    kind = message["event_type"]
    return (
        f"2026-03-01 00:00:00.001 7 INFO oslo.messaging.notification.{kind} [req-1 - -] {json.dumps(message)}"
    )


def event(message: Message) -> Message:
    """As Ceilometer's definitions make it of the notification."""
    payload = message["payload"]
    names = {"volume_id": "resource_id", "tenant_id": "project_id", "volume_type": "type"}
    told = ("volume_id", "host", "size", "volume_type", "tenant_id", "display_name", "created_at", "image_id")
    values = {**payload, "image_id": IMAGE}
    traits = [[names.get(key, key), 1, str(values[key])] for key in told if key in values]
    return {
        **{key: message[key] for key in ("message_id", "event_type")},
        "generated": message["timestamp"].replace(" ", "T"),
        "traits": [["service", 1, "volume.c1@flash"], *traits],
        "raw": {},
    }


def rabbitmq(message: Message, encoding: str = "string") -> Message:
    text = json.dumps(envelope(message))
    payload = base64.b64encode(text.encode()).decode() if encoding == "base64" else text
    told = {"payload_bytes": len(text), "redelivered": False, "exchange": "cinder", "message_count": 1}
    return {**told, "properties": {"priority": 0}, "payload": payload, "payload_encoding": encoding}


def hits(sources: list[Message], indent: int | None = None) -> str:
    found = [{"_index": "flog", "_id": str(number), "_source": one} for number, one in enumerate(sources)]
    total = {"total": {"value": len(found), "relation": "eq"}, "max_score": 1.0, "hits": found}
    return json.dumps({"took": 1, "timed_out": False, "_shards": {"total": 1}, "hits": total}, indent=indent)


def lines(each: Callable[[Message], Any]) -> str:
    return "".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in map(each, SENT))


def docker(message: Message) -> str:
    """Docker writes long lines in parts, and other streams between."""
    text = logged(message) + "\n"
    parts = [("stderr", text[:90]), ("stdout", "GET /v3\n"), ("stderr", text[90:150]), ("stderr", text[150:])]
    return "\n".join(json.dumps({"log": log, "stream": of, "time": "2026-03-01T00Z"}) for of, log in parts)


def kubernetes(message: Message) -> str:
    text, at = logged(message), "2026-03-01T00:00:00.000000001Z"
    return f"{at} stderr P {text[:120]}\n{at} stdout F GET /v3\n{at} stderr F {text[120:]}"


def table(message: Message) -> str:
    return f"| notifications.info | cinder | 3 | {json.dumps(envelope(message))} | 1200 | string | False |"


def long(message: Message) -> str:
    rule = "-" * 40
    return (
        f"{rule}\n    routing_key: x\n        payload: {json.dumps(envelope(message))}\n    redelivered: 1\n"
    )


def published(message: Message) -> Message:
    """Ceilometer's publisher on the bus."""
    told = {
        "message_id": "m",
        "event_type": "event",
        "priority": "SAMPLE",
        "timestamp": "2026-03-01 00:00:09",
    }
    return {"request": envelope({**told, "payload": [event(message)]}), "context": {}}


WHOLE = {
    "array": json.dumps(SENT),
    "array of envelopes, over lines": json.dumps([envelope(one) for one in SENT], indent=4),
    "two arrays": json.dumps(SENT[:2]) + "\n" + json.dumps(SENT[2:]),
    "documents over lines": "\n".join(json.dumps(one, indent=2) for one in SENT),
    "byte order mark": "\ufeff" + json.dumps(SENT, indent=1),
    "rabbitmqadmin raw_json": json.dumps([rabbitmq(one) for one in SENT]),
    "rabbitmqadmin pretty_json": json.dumps([rabbitmq(one, "base64") for one in SENT], indent=2),
    "rabbitmqadmin table": f"+--+--+\n| routing_key | payload |\n+--+--+\n{lines(table)}+--+--+\n",
    "rabbitmqadmin tsv": "routing_key\tpayload\n" + lines(lambda one: f"x\t{json.dumps(envelope(one))}\t9"),
    "rabbitmqadmin long": lines(long),
    "Elasticsearch": hits(SENT),
    "Elasticsearch over lines": hits([{"Payload": logged(one), "Logger": "x"} for one in SENT], 2),
    "elasticdump": lines(lambda one: {"_index": "i", "_source": {"message": json.dumps(one)}}),
    "fluentd's file": lines(lambda one: f"2026-03-01T00:00:00Z\ttag\t{json.dumps({'message': logged(one)})}"),
    "fluentd's record": lines(lambda one: {"Payload": f"[req-1 - -] {json.dumps(one)}", "log_level": "INFO"}),
    "docker": lines(docker),
    "kubernetes": lines(kubernetes),
    "journald": lines(lambda one: {"MESSAGE": logged(one), "PRIORITY": "6"}),
}  # fmt: skip
EVENTS = {
    "published on the bus": lines(published),
    "events": json.dumps([event(one) for one in SENT], indent=2),
    "events of the API": lines(
        lambda one: {**event(one), "traits": [{"name": name, "type": "string", "value": value}
                                              for name, _, value in event(one)["traits"]]}
    ),
}  # fmt: skip


def read(path: Path) -> Telemetry:
    problems = Problems()
    telemetry = notifications.read([path], None, None, None, problems)
    assert problems.lines() == []
    assert telemetry is not None
    return telemetry


def refused(path: Path) -> list[str]:
    problems = Problems()
    assert notifications.read([path], None, None, None, problems) is None
    return problems.lines()


def cut(telemetry: Telemetry) -> bool:
    return any("is cut off: 1 incomplete notification" in note.text for note in telemetry.notes)


@pytest.fixture
def plain(tmp_path: Path) -> Telemetry:
    path = tmp_path / "plain"
    path.write_text(lines(lambda one: one))
    return read(path)


@pytest.mark.parametrize("carrier", WHOLE)
def test_each_carrier(carrier: str, plain: Telemetry, tmp_path: Path) -> None:
    path = tmp_path / "carried"
    path.write_text(WHOLE[carrier])
    found = read(path)
    pd.testing.assert_frame_equal(found.events, plain.events)
    pd.testing.assert_frame_equal(found.counts, plain.counts)
    pd.testing.assert_frame_equal(found.images, plain.images)
    assert not cut(found)


@pytest.mark.parametrize("carrier", EVENTS)
def test_ceilometer(carrier: str, plain: Telemetry, tmp_path: Path) -> None:
    path = tmp_path / "events"
    path.write_text(EVENTS[carrier])
    found = read(path)
    pd.testing.assert_frame_equal(found.events, plain.events)
    pd.testing.assert_frame_equal(found.counts, plain.counts)
    assert any(note.text.startswith("Ceilometer's events lack") for note in found.notes)


@pytest.mark.parametrize("carrier", ["array", "documents over lines", "Elasticsearch over lines", "docker"])
def test_a_cut_end(carrier: str, plain: Telemetry, tmp_path: Path) -> None:
    """Whole notifications before the cut are read."""
    path = tmp_path / "cut"
    path.write_text(WHOLE[carrier].rstrip()[:-150])
    found = read(path)
    assert list(found.events["event"]) == ["create"]
    assert cut(found)


def test_a_cut_file_that_is_packed(tmp_path: Path) -> None:
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress((lines(lambda one: one) * 500).encode())[:-100])
    found = read(path)
    assert list(found.events["event"]) == ["create", "delete"] and cut(found)


def test_only_a_cut_notification(tmp_path: Path) -> None:
    path = tmp_path / "cut"
    path.write_text(json.dumps(SENT[0])[:-30])
    (line,) = refused(path)
    assert "has no notification" in line and "rabbitmqadmin" in line


@pytest.mark.parametrize("text", ["a: b\nc: d\n", "", '{"volumes": []}', '[{"ID": 1}]', "<xml/>", "[]"])
def test_what_is_none_is_told_what_would_be(text: str, tmp_path: Path) -> None:
    path = tmp_path / "other"
    path.write_text(text)
    assert sum("accepted: JSON (one notification a line" in line for line in refused(path)) == 1


def test_broken_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "broken"
    path.write_text(f"[{json.dumps(SENT[0])},\n{{x: 1}},\n{json.dumps(SENT[1])}]")
    (line,) = refused(path)
    assert line.startswith(f"{path}: line 2: is broken JSON (column 2")
    path.write_text(f"{json.dumps(SENT[0])}\n{logged(SENT[1])[:-9]}\n{json.dumps(SENT[2])}\n")
    (line,) = refused(path)
    assert line.startswith(f"{path}: line 2: is broken JSON")
