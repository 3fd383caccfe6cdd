"""Clouds that a scenario cannot describe: drivers, services, volume types and Glance as they may be.

A driven case runs such a cloud through the whole of Cinder and asserts what Cinder then does. Some are
what a scenario says in another way: those return a case and a strategy, which both engines must decide alike.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

from cinder.volume import volume_types

from sim.cinder.release import db_api
from sim.inputs.scenario import Case

from . import simtime
from .process import admin
from .reference import Result, Run

Alike = tuple[Case, str, Result]  # a case and a strategy, and what the whole of Cinder made of their like
DRIVEN: dict[str, Callable[[Path], Alike | None]] = {}


def driven(case: Callable[[Path], Alike | None]) -> Callable[[Path], Alike | None]:
    """Register a driven case under its name."""
    DRIVEN[case.__name__] = case
    return case


class Odd(Run):
    """A run of a cloud that differs from its scenario.

    `given`: options of Cinder, by group and name. `types`: extra specs of volume types, instead of their own.
    `patches` (target, name, new) hold from before Cinder starts. `at`: what happens at which second.
    """

    def __init__(
        self,
        case: Case,
        strategy: str = "cache-only",
        *patches: tuple[Any, str, Any],
        given: dict[tuple[str | None, str], Any] | None = None,
        types: dict[str, dict[str, str]] | None = None,
        at: dict[float, Callable[[Odd], None]] | None = None,
    ) -> None:
        super().__init__(case, strategy)
        self.patches, self.given, self.extra_specs, self.at = patches, given or {}, types or {}, at or {}

    def options(self) -> dict[tuple[str | None, str], Any]:
        return {**super().options(), **self.given}

    def _play(self) -> Result:
        with ExitStack() as stack:
            for target, name, new in self.patches:
                stack.enter_context(mock.patch.object(target, name, new))
            return super()._play()

    def build(self) -> None:
        super().build()
        for tier, specs in self.extra_specs.items():
            for key in volume_types.get_volume_type_extra_specs(self.types[tier]):
                db_api.volume_type_extra_specs_delete(admin(), self.types[tier], key)
            db_api.volume_type_extra_specs_update_or_create(admin(), self.types[tier], specs)
        for time, call in self.at.items():
            self.time.at(time, simtime.TRACE, lambda call=call: call(self))

    def reports(self) -> None:
        """Every service reports now."""
        for services in self.services.values():
            for service in services:
                service.manager.publish_service_capabilities(admin())
