"""Unwraps notifications from a bus's envelopes, log collectors' records and Ceilometer's events."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any

# Keys that hold a notification or a text with one. oslo.messaging: oslo.message; its RPC, as telemetry
# has it: request; RabbitMQ's management: payload; Elasticsearch and OpenSearch: hits, _source; Docker,
# Kubernetes and fluentd: log, message, Payload; journald: MESSAGE; Loki: line; Splunk: result, _raw.
CARRIERS = (
    *("oslo.message", "request", "payload", "hits", "_source", "log", "message", "Payload"),
    *("MESSAGE", "line", "result", "_raw", "events", "record"),
)
DEEPEST = 8  # wrappers inside wrappers
LOGGER = "oslo.messaging.notification."  # logger of oslo.messaging's driver `log`
_DECODER = json.JSONDecoder()


def notifications_in(value: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """Every notification in a JSON value, with oslo.messaging's keys; none if it holds something else.

    Raises ValueError for the broken JSON of an envelope.
    """
    if depth > DEEPEST:
        return
    if isinstance(value, list):
        for each in value:
            yield from notifications_in(each, depth + 1)
    elif isinstance(value, str):
        yield from notifications_in(value_in(value), depth + 1)
    elif isinstance(value, dict) and isinstance(value.get("event_type"), str):
        yield from _bare(value, depth)
    elif isinstance(value, dict):
        for key in carriers(value):
            yield from notifications_in(_carried(value, key), depth + 1)


def carriers(value: Any) -> list[str]:
    """The keys of a JSON object that may carry notifications."""
    return [key for key in CARRIERS if key in value] if isinstance(value, dict) else []


def value_in(text: str) -> Any:
    """The first JSON object in a text, as in a line of a log; None if there is none.

    Raises ValueError if it is broken in a line that oslo.messaging's driver `log` wrote.
    """
    begin = text.find("{")
    try:
        return _DECODER.raw_decode(text, begin)[0] if begin >= 0 else None
    except (ValueError, RecursionError):
        if LOGGER in text:
            raise
        return None


def _carried(value: dict[str, Any], key: str) -> Any:
    inner = value[key]
    if key == "oslo.message":
        return json.loads(inner)
    if key == "payload" and value.get("payload_encoding") == "base64":
        return base64.b64decode(inner).decode()
    return inner


def _bare(message: dict[str, Any], depth: int) -> Iterator[dict[str, Any]]:
    """The notification of a bare message, of a Ceilometer event, or those of Ceilometer's event payload."""
    payload = message.get("payload")
    if "traits" in message:
        yield from _of_event(message)
    elif isinstance(payload, list):
        yield from notifications_in(payload, depth + 1)
    else:
        yield {**message, "payload": json.loads(payload)} if isinstance(payload, str) else message


def _of_event(event: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The notification from which Ceilometer made an event, as far as its traits show it.

    `ceilometer/pipeline/data/event_definitions.yaml` defines the traits. The end of a create is not among
    them: its notification is sent at that time.
    """
    traits = _traits(event["traits"])
    told = {"host": traits.get("host"), "image_id": traits.get("image_id")}
    if "resource_id" in traits:
        told = {
            "volume_id": traits["resource_id"],
            "host": traits.get("host"),
            "size": traits.get("size"),
            "volume_type": traits.get("type"),
            "tenant_id": traits.get("project_id") or traits.get("tenant_id"),
            "display_name": traits.get("display_name"),
            "created_at": traits.get("created_at"),
            "launched_at": event["generated"],
        }
        if "image_id" in traits:
            told["glance_metadata"] = [{"key": "image_id", "value": traits["image_id"]}]
    elif not event["event_type"].startswith("image_volume_cache."):
        return  # an event without a definition has only the default traits
    yield {
        "event_type": event["event_type"],
        "timestamp": event["generated"],
        "message_id": event.get("message_id"),
        "payload": told,
        "of_ceilometer": True,
    }


def _traits(traits: Any) -> Mapping[str, Any]:
    """Traits by name. Input: published lists of [name, type, value], the API's objects, or one object."""
    if isinstance(traits, dict):
        return traits
    rows = [
        (each["name"], each["value"]) if isinstance(each, dict) else (each[0], each[-1]) for each in traits
    ]
    return dict(rows)
