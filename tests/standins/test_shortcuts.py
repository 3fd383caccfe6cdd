"""What takes a shorter way than a library gives what the library gives."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import tenacity
from cinder import utils
from hypothesis import given
from hypothesis import strategies as st
from oslo_serialization import jsonutils
from oslo_utils import uuidutils

from sim.cinder.clock import TICK, Clock
from sim.cinder.standins import _contexts, _is_uuid_like, _Retrying, _to_primitive, _tried_once

SIMPLE = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
ODD = (
    st.datetimes()
    | st.uuids()
    | st.binary().map(lambda _: b"bytes")
    | st.just(Decimal(1))
    | st.just(ValueError("x"))
)
NESTED = st.recursive(
    SIMPLE | ODD,
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=20,
)


@given(NESTED)
def test_to_primitive(value: Any) -> None:
    expected, found = jsonutils.to_primitive(value), _to_primitive(value)
    assert found == expected
    assert repr(found) == repr(expected)


@given(st.text() | st.uuids().map(str) | st.uuids().map(lambda one: f"{{{str(one).upper()}}}"))
def test_is_uuid_like(text: str) -> None:
    assert _is_uuid_like(text) is uuidutils.is_uuid_like(text)


@given(st.lists(st.sampled_from([0.0, 0.0, 1e-7, 2e-6, 0.5, 7.25])))
def test_readings_of_the_clock(steps: list[float]) -> None:
    """Each is the time, or a tick after the one before."""
    start = datetime(2026, 1, 1)
    clock, last, now = Clock(start), start - TICK, 0.0
    for step in steps:
        now += step
        clock._now = now
        last = max(start + timedelta(seconds=now), last + TICK)
        assert clock.utcnow() == last
    assert clock.utcnow(with_timezone=True) == max(start + timedelta(seconds=now), last + TICK).replace(
        tzinfo=UTC
    )


@given(st.lists(st.sampled_from([KeyError, LookupError, ValueError]), max_size=4))
def test_retrying(failures: list[type[Exception]]) -> None:
    """As many calls and sleeps, and the same end, as tenacity's own."""

    def tried(kind: Callable[..., Any]) -> tuple[int, list[float], object]:
        left, sleeps = list(failures), []

        def step() -> str:
            if left:
                raise left.pop()
            return "done"

        retry = tenacity.retry_if_exception_type(LookupError)
        stop, wait = tenacity.stop_after_attempt(3), tenacity.wait_exponential(multiplier=1)
        retrying = kind(sleep=sleeps.append, stop=stop, wait=wait, retry=retry, reraise=True)
        try:
            ended: object = retrying(step)
        except Exception as error:
            ended = type(error)
        return len(left), sleeps, ended

    assert tried(_Retrying) == tried(tenacity.Retrying)


@pytest.mark.parametrize("retries", [1, 2])
@pytest.mark.parametrize("failures", [0, 1, 2])
def test_tried_once(retries: int, failures: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many calls, and the same end, as with the retry."""
    monkeypatch.setattr(tenacity.nap, "sleep", lambda _: None)

    def tried(way: Callable[..., Callable[[], str]]) -> tuple[int, object]:
        calls: list[None] = []

        def step() -> str:
            calls.append(None)
            if len(calls) <= failures:
                raise LookupError
            return "done"

        try:
            ended: object = way(utils.retry(LookupError, retries=retries)(step))()
        except LookupError as error:
            ended = type(error)
        return len(calls), ended

    assert tried(_tried_once) == tried(lambda retried: retried)


def test_tried_once_takes_nothing_but_the_retry() -> None:
    """Another Cinder may have no retry there, or one between other decorators."""

    def step() -> str:
        return "done"

    @functools.wraps(step)
    def locked() -> str:
        return f"locked, {step()}"

    once = utils.retry(LookupError, retries=1)
    assert _tried_once(step) is step
    assert _tried_once(once(locked)) is locked

    @functools.wraps(step)
    def outer() -> str:
        return once(step)()

    assert _tried_once(outer) is outer


def test_contexts_take_what_a_patched_cinder_may_give() -> None:
    """Also what cannot be hashed, and nothing at all."""
    context = _contexts()
    assert context("u", "p", roles=["member"]) is context(user_id="u", project_id="p", roles=[])
    assert (context().user_id, context().is_admin) == ("", False)
