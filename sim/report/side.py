"""One side of a report of two: what a folder of results has, whatever command wrote it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sim.analysis.apart import ASKED, FAILED, History, Value, Values, intervals_of
from sim.analysis.results import EACH, MANIFEST, read_table
from sim.inputs.kept import limits_kept, options_of
from sim.inputs.problems import Problems, quoted
from sim.inputs.strategies import STRATEGIES
from sim.model.usage import ALL
from sim.report.verdict import SUMMARY

Place = tuple[str, str]  # "tier" or "backend", and its name
EVERY: Place = ("tier", ALL)
MADE = "made_hit_rate"  # clones among the creates that succeed
NOW, NEW, SEEN = "today", "promise", "observed"
WANTED = "give a folder that compare, run, plan, advise or verdict wrote with --out, or the JSON file of one"
MOST_CREATES = 5_000_000  # of a run whose creates are read for intervals
NAMED = {**SUMMARY, "errors": FAILED, "volumes_peak": "volumes_peak", "waited_h_month": "waited_h_month"}
CREATES = (*ASKED, "end", "source", "status")
OTHERS = ("volume_type", "time", "status")


@dataclass(frozen=True, eq=False)
class Told:
    """Figures that a folder tells under one name.

    - role: NOW, NEW, SEEN, or '' for a row of a comparison; strategy: '' if it is not told.
    - figures: by place and measure; measures are columns of `sim.analysis.metrics.summary`, FAILED, MADE and
      those of documents.
    - options: lines of `cinder.conf` by section and option; settings: keys of the scenario that are not at
      their defaults (`sim.inputs.kept`). None: the folder does not tell.
    - history: where intervals come from, if the folder has the creates.
    """

    name: str
    strategy: str
    figures: Mapping[Place, Mapping[str, Value]]
    role: str = ""
    options: Mapping[tuple[str, str], str] | None = None
    settings: Mapping[str, Any] | None = None
    history: History | None = None


@dataclass(frozen=True)
class Side:
    """A folder: what wrote it, its scenario, its rows, and how they were made, by name."""

    path: Path
    kind: str
    scenario: str
    rows: list[Told]
    made: Mapping[str, str] = field(default_factory=dict)


def read_side(path: Path, problems: Problems) -> Side | None:
    """What a folder (or the JSON file of one) has; None, with the problems noted, if it has no results."""
    if not path.exists():
        problems.add(path, "", f"is not there: {WANTED}")
        return None
    if path.is_file():
        return _document(path, problems)
    documents = [path / name for name in ("plan.json", "advice.json", "verdict.json", "promise.json")]
    found = [each for each in documents if each.is_file()]
    if (path / "advice.json") in found:  # whose promise is a part of it
        found = [each for each in found if each.name != "promise.json"]
    runs = (
        [path] if (path / MANIFEST).is_file() else sorted(each.parent for each in path.glob(f"*/{MANIFEST}"))
    )
    if len(found) + bool(runs) > 1:
        what = ", ".join(each.name for each in [*found, *runs])
        problems.add(path, "", f"has results of several commands ({what}): give one of them")
        return None
    if found:
        side = _document(found[0], problems)
        return None if side is None else replace(side, path=path)
    if runs:
        return _runs(path, runs, problems)
    problems.add(path, "", f"has no results: {WANTED}")
    return None


# -- plan, advise, verdict -----------------------------------------------------------------------------


def _document(path: Path, problems: Problems) -> Side | None:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        reader = _reader(document)
        if reader is not None:
            return reader(path, document)
    except (OSError, ValueError) as error:
        problems.add(path, "", f"cannot be read: {getattr(error, 'strerror', None) or error}")
        return None
    except (KeyError, TypeError, AttributeError) as error:
        problems.add(path, "", f"is damaged: {type(error).__name__}: {error}")
        return None
    problems.add(path, "", f"has no results: {WANTED}")
    return None


def _reader(document: Any) -> Callable[[Path, Any], Side] | None:
    keys = set(document) if isinstance(document, dict) else set()
    for needed, reader in (
        ({"with_all", "today"}, _advice),
        ({"runners_up", "today"}, _plan),
        ({"verdict", "figures"}, _verdict),
        ({"backends", "tiers"}, _promise),
    ):
        if needed <= keys:
            return reader
    return None


def _plan(path: Path, document: Any) -> Side:
    settings = document.get("settings")
    rows = [
        _settled("today", document["today"], NOW, settings),
        _settled("plan", document, NEW, settings),
    ]
    made = {"warm-up": f"{document['warm_up_s']:,.0f} s", **_changes(document)}
    return Side(path, "plan", str(document["scenario"]), rows, made)


def _changes(document: Any) -> dict[str, str]:
    return {str(key): str(value) for key, value in document.get("changes", {}).items()}


def _promise(path: Path, document: Any) -> Side:
    return Side(path, "promise", str(document["scenario"]), [_settled("promised", document, NEW)])


def _advice(path: Path, document: Any) -> Side:
    rows = []
    for name, key, role in (("today", "today", NOW), ("with all actions", "with_all", NEW)):
        of = document[key]
        strategy, figures, options = str(of["strategy"]), _figures(of), None
        settings = of.get("settings")
        if settings is not None:
            options = options_of(strategy, limits_kept(settings["backends"], strategy))
        rows.append(Told(name, strategy, figures, role, options, settings))
    return Side(path, "advise", str(document["scenario"]), rows)


def _settled(name: str, of: Any, role: str, settings: Mapping[str, Any] | None = None) -> Told:
    """A row with the limits that a document has."""
    strategy = str(of["strategy"])
    if strategy not in STRATEGIES:
        raise ValueError(f"unknown strategy {quoted(strategy)}")
    options = options_of(strategy, limits_kept(of["backends"], strategy))
    return Told(name, strategy, _figures(of), role, options, settings)


def _figures(of: Any) -> dict[Place, dict[str, Value]]:
    places = {("tier", str(name)): each for name, each in of["tiers"].items()}
    places |= {("backend", str(name)): each for name, each in of.get("backends", {}).items()}
    found: dict[Place, dict[str, Value]] = {}
    for place, its in places.items():
        own = found[place] = {
            measure: _value(its, name) for name, measure in NAMED.items() if its.get(name) is not None
        }
        if "creates" in its:
            own["creates"] = Value(float(its["creates"]))
            others = its.get("other_errors") or 0.0
            lost = (its.get("errors") or 0.0) - others
            own |= _of_made(own, float(its["creates"]), lost)
    return found


def _value(of: Any, name: str) -> Value:
    ends = [of.get(f"{name}_{end}") for end in ("low", "high")]
    return Value(float(of[name]), *(math.nan if end is None else float(end) for end in ends))


def _of_made(own: Mapping[str, Value], creates: float, lost: float) -> dict[str, Value]:
    """The share of clones among the creates that succeed: what a verdict tells."""
    if "clone_hit_rate" not in own or creates <= lost:
        return {}
    scale = creates / (creates - lost)
    hits = own["clone_hit_rate"]
    return {MADE: Value(*(min(1.0, scale * each) for each in (hits.mean, hits.low, hits.high)))}


def _verdict(path: Path, document: Any) -> Side:
    rows = []
    for name, role in (("promised", ""), ("observed", SEEN)):
        figures: dict[Place, dict[str, Value]] = {}
        for each in document["figures"]:
            if each[name] is None:
                continue
            place = EVERY if each["backend"] == ALL else ("backend", str(each["backend"]))
            measure = MADE if each["figure"] == "hit_rate" else NAMED[each["figure"]]
            figures.setdefault(place, {})[measure] = _value(each, name)
        rows.append(Told(name, "", figures, role))
    made = {"since": document["since"], "until": document["until"], "verdict": document["verdict"]}
    return Side(path, "verdict", "", rows, {key: str(value) for key, value in made.items()})


# -- compare, run --------------------------------------------------------------------------------------


def _runs(path: Path, folders: list[Path], problems: Problems) -> Side | None:
    rows, manifests = [], []
    for folder in folders:
        try:
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            rows.append(_row(folder, manifest))
            manifests.append(manifest)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            said = getattr(error, "strerror", None) or " ".join(f"{type(error).__name__}: {error}".split())
            problems.add(getattr(error, "filename", None) or folder, "", f"is damaged: {said}")
    if len(rows) < len(folders):
        return None
    told = [_made(each) for each in manifests]
    made = {key: value for key, value in told[0].items() if all(each.get(key) == value for each in told)}
    kind = "compare" if len(rows) > 1 or (path / "report.html").is_file() else "run"
    return Side(path, kind, str(manifests[0]["scenario"]), rows, made)


def _made(manifest: Any) -> dict[str, str]:
    versions = manifest.get("versions", {})
    named = {
        "engine": manifest["engine"],
        "seed": manifest["seed"],
        "warm-up": f"{manifest.get('warm_up_s', 0.0):,.0f} s",
        "trace starts": manifest.get("trace_start"),
        "Cinder": manifest.get("cinder") or versions.get("cinder"),
        **{f"version of {name}": version for name, version in versions.items() if name != "cinder"},
        **{f"SHA-256 of {name}": digest for name, digest in manifest.get("sha256", {}).items()},
    }
    return {name: str(value) for name, value in named.items() if value is not None}


def _row(folder: Path, manifest: Any) -> Told:
    summary = read_table(folder, "summary", manifest)
    strategy, name = str(manifest["strategy"]), folder.name
    settings = manifest.get("settings")
    options = None
    if settings is not None and strategy in STRATEGIES:
        options = options_of(strategy, limits_kept(settings["backends"], strategy))
    history: History | None = None
    certain: Values = _replicated(folder.parent / "replications.csv", name)
    if manifest["creates"] <= MOST_CREATES:
        history = History(
            read_table(folder, "requests", manifest, CREATES),
            read_table(folder, "others", manifest, OTHERS),
            tuple(tier for tier in summary["tier"] if tier != ALL),
            float(manifest.get("warm_up_s", 0.0)),
            int(manifest["seed"]),
            _each(folder.parent / EACH, name, summary),
        )
        certain = intervals_of(history) if history.each is not None or not certain else certain
    figures = {("tier", str(row["tier"])): dict(_of_summary(row)) for row in summary.to_dict("records")}
    for tier, of in certain.items():
        figures["tier", tier] |= of
    for its in figures.values():
        its |= _of_made(its, its["creates"].mean, its["errors"].mean)
    return Told(name, strategy, figures, "today" if name == "today" else "", options, settings, history)


def _of_summary(row: Mapping[Any, Any]) -> Iterator[tuple[str, Value]]:
    for name, value in row.items():
        if isinstance(value, int | float) and not math.isnan(value):
            yield str(name), Value(float(value))
    yield FAILED, Value(float(row["errors"] + row["other_errors"]))


def _each(path: Path, name: str, summary: pd.DataFrame) -> pd.DataFrame | None:
    """The summaries of a strategy in each replication, if they are those of this run."""
    if not path.is_file():
        return None
    table = pd.read_csv(path, keep_default_na=False, na_values=[""])
    own = table[table["strategy"] == name]
    first = own[own["replication"] == 0]
    shown = ["creates", "clone_hit_rate", "errors"]
    same = len(first) == len(summary) and np.allclose(first[shown], summary[shown], equal_nan=True)
    return own.reset_index(drop=True) if same and own["replication"].nunique() > 1 else None


def _replicated(path: Path, name: str) -> dict[str, dict[str, Value]]:
    """Means over replications, by tier and measure, of a folder that keeps no more."""
    if not path.is_file():
        return {}
    table = pd.read_csv(path, keep_default_na=False, na_values=[""])
    found: dict[str, dict[str, Value]] = {}
    for row in table[table["strategy"] == name].to_dict("records"):
        if not pd.isna(row["mean"]):
            its = found.setdefault(str(row["tier"]), {})
            its[str(row["measure"])] = Value(float(row["mean"]), float(row["low"]), float(row["high"]))
    return found
