"""Which volume types each backend serves, as Cinder's scheduler matches types with backends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd
from cinder.scheduler.filters import extra_specs_ops

from sim.importers.assumptions import Assumed
from sim.importers.names import Place
from sim.importers.notes import Note
from sim.importers.settings import Section

Tiers = dict[str, list[str] | Assumed]


def served(
    found: Mapping[str, Place],
    sections: Mapping[str, Section | None] | None,
    types: pd.DataFrame,
    lying: Iterable[tuple[str, str]],
    reported: Mapping[str, str],
) -> tuple[Tiers, list[Note]]:
    """The volume types of each backend, `Assumed` if no source gives them, and notes.

    `found`: places by Cinder's host. `sections`: cinder.conf of each backend, None for one that is in no
    file; None without any file. `types`: rows of `History.volume_types`, none without a database. `lying`:
    pairs of a host and the type of a volume there. `reported`: the volume_backend_name that pools report, by
    backend.

    `CapabilitiesFilter` compares a type's volume_backend_name with the name that a backend reports. A type
    without one may be anywhere and counts only if it is used. Existing volumes stay where they are.
    """
    there: dict[str, list[str]] = {place.backend: [] for place in found.values()}
    for host, tier in lying:
        there[found[host].backend].append(tier)
    called = {name: reported.get(name) or _configured(name, sections or {}) for name in there}
    of_names = _of_names(there, called, set(types["volume_type"]))
    used = {tier for tiers in there.values() for tier in tiers}
    tiers: Tiers = {}
    notes: list[Note] = []
    for name, own in there.items():
        new = [*own, *of_names.get(called[name], [])]
        if not sections or sections[name] is not None or name in reported:
            anywhere = _anywhere(types)
            new += _named(types, called[name])
            new += [tier for tier in anywhere if tier in used] or ([] if new else anywhere)
        tiers[name] = list(dict.fromkeys(new)) or _unasked(called[name] or name, types)
        if not new and len(types):
            what = f"no volume type asks for {called[name] or 'it'}"
            then = "nothing is placed there; it gets its own tier, which no create uses"
            notes.append(Note("read", f"backend {name}: {what} and it has no volume: {then}"))
    return tiers, notes


def names(of: list[str] | Assumed) -> list[str]:
    """The volume types of a backend, assumed or from a source."""
    return list(of.value) if isinstance(of, Assumed) else of


def _anywhere(types: pd.DataFrame) -> list[str]:
    return list(types.loc[types["volume_backend_name"] == "", "volume_type"])


def _named(types: pd.DataFrame, name: str) -> Iterator[str]:
    """The types that ask for a backend's name."""
    for row in types[types["volume_backend_name"] != ""].to_dict("records"):
        if name and extra_specs_ops.match(name, row["volume_backend_name"]):
            yield row["volume_type"]


def _configured(name: str, sections: Mapping[str, Section | None]) -> str:
    """The name of a backend by its cinder.conf, '' if that does not show it."""
    section = sections.get(name)
    return section.volume_backend_name if section is not None else ""


def _of_names(
    there: Mapping[str, list[str]], called: Mapping[str, str], known: set[Any]
) -> dict[str, list[str]]:
    """Types by the backend name on which their volumes are, if no database shows what they ask for.

    The scheduler cannot distinguish backends of one name, so types on one may be on the others.
    """
    found: dict[str, list[str]] = {}
    for name, own in there.items():
        if called[name]:
            found.setdefault(called[name], []).extend(tier for tier in own if tier not in known)
    return found


def _unasked(own: str, types: pd.DataFrame) -> list[str] | Assumed:
    """A tier for a backend without known volume types."""
    if len(types):
        return Assumed([own], "no volume type asks for this backend")
    return Assumed([own], "a volume type with the backend's name; the database has the real ones (--db)")


def unplaced(tiers: Tiers, asked: Iterable[str]) -> list[Note]:
    """Let every backend serve the types of creates that no source shows on a host."""
    known = {tier for of in tiers.values() for tier in names(of)}
    new = [tier for tier in asked if tier not in known]
    if not new:
        return []
    for name, of in tiers.items():
        own = [] if isinstance(of, Assumed) else of
        tiers[name] = Assumed([*own, *new], "no source shows on which backends volumes of these types are")
    what = "no source shows a volume of these types on a host: every backend is assumed to serve them"
    return [Note("assumed", f"{', '.join(new)}: {what}")]
