"""Differences between the supported releases of Cinder. Only this file knows where a release keeps a module.

Other files import moved names from here; ruff's `banned-api` enforces this (pyproject.toml).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import cache
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any, Protocol

from cinder import exception

try:
    from cinder.db.sqlalchemy import api as db_api  # before 29
    from cinder.db.sqlalchemy import models
except ImportError:
    from cinder.db import api as db_api
    from cinder.db import models

__all__ = [
    "MENDS",
    "EarlierCalls",
    "called_by_name",
    "caution",
    "db_api",
    "models",
    "places",
    "rewrites_metadata",
]

REPEATED = 27  # the oldest Cinder whose rules engine `fast` repeats
# Since when, from 27 on, `clone_across_pools` works: the store's clone (`_clone_image_volume`; 25 and 26 have
# it, too, and 27 lost it), then the cache's (`get_entry`).
STORE_ACROSS_POOLS, CACHE_ACROSS_POOLS = 28, 29
# Whether `VolumeNumberWeigher` is mended where a release has broken it. A process of a Cinder that a user
# names keeps it as it is.
MENDS = ContextVar("MENDS", default=True)
# Modules by their name in Cinder 29, and where older releases keep their content.
EARLIER = {
    "cinder.db.api": "cinder.db.sqlalchemy.api",
    "cinder.db.models": "cinder.db.sqlalchemy.models",
    "cinder.scheduler.sched_utils": "cinder.utils",
}


def places(module: str) -> Iterator[str]:
    """The modules in which a release may keep the content of Cinder 29's `module`: the first that has it."""
    if module in EARLIER:
        yield EARLIER[module]
    yield module


def caution(clones_across_pools: bool = False, release: str | None = None) -> str:
    """A caution about a Cinder whose rules differ from engine `fast` ('': they do not).

    `clones_across_pools`: whether a driver of the scenario does so, which is a matter of later releases.
    `release`: the Cinder; None for the installed one.
    """
    release = version("cinder") if release is None else release
    major = int(release.partition(".")[0])
    if major >= REPEATED:
        if not clones_across_pools or major >= CACHE_ACROSS_POOLS:
            return ""
        known = "only the Cinder store knows" if major >= STORE_ACROSS_POOLS else "nothing knows"
        return (
            f"Cinder {release} decides, in which {known} clone_across_pools;\n"
            f"engine fast repeats the rules of {CACHE_ACROSS_POOLS}, in which the cache knows it, too."
        )
    return (
        f"Cinder {release} decides; engine fast repeats the rules of {REPEATED} to 29.\n"
        "They differ at clone limits (up to 26 the image-volume stays as an orphan) and\n"
        "where a download is tried again (24.0 and 25.0 refuse its glance metadata)."
    )


class Volumes(Protocol):
    """A database that finds volumes by the call of Cinder 28 and later."""

    def volume_get_all(self, context: Any, filters: dict[str, Any]) -> list[Any]: ...


class EarlierCalls:
    """Calls of the database that only older releases make."""

    def volume_get_all_by_host(self: Volumes, context: Any, host: str, filters: dict[str, Any]) -> list[Any]:
        """Cinder before 28 calls this instead of `volume_get_all`."""
        return self.volume_get_all(context, {**filters, "host": host})


def called_by_name(stand_in: Callable[..., int], own: Callable[..., int]) -> Callable[..., int]:
    """A stand-in for Cinder's function `own`, with its check of the context unless that is mended.

    `VolumeNumberWeigher` names the context. Cinder 29 has `require_admin_context` around the function that it
    calls, which reads the context by position and raises IndexError. Before 29 a plain function is between.
    """
    checks = hasattr(own, "__wrapped__") and not MENDS.get()
    checked: Callable[..., int] = db_api.require_admin_context(stand_in) if checks else stand_in
    return checked


@cache
def rewrites_metadata() -> bool:
    """Whether a later attempt may overwrite the glance metadata of an earlier one; Cinder's code decides.

    Cinder 24.0 and 25.0 refuse it, so a rescheduled download fails at its end.
    """
    found = SimpleNamespace(value="value")
    query = SimpleNamespace(all=lambda: [found])
    query.filter_by = lambda **_: query
    context = SimpleNamespace(session=SimpleNamespace(query=lambda model: query))
    try:
        inspect.unwrap(db_api.volume_glance_metadata_bulk_create)(context, "volume", {"key": "value"})
    except exception.GlanceMetadataExists:
        return False
    return True
