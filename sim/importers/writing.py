"""Writes an imported cloud as a scenario with its files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import jinja2
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from sim.importers import assumptions, cinder_options, project_quotas
from sim.importers.assumptions import Assumed
from sim.importers.cloud import Cloud
from sim.importers.notes import Note, shortened
from sim.inputs.backend import NOVA
from sim.inputs.beside import beside
from sim.inputs.cells import guarded_table
from sim.inputs.problems import BadInput
from sim.inputs.scenario import STRATEGY_NAMES
from sim.model.initial import misfits
from sim.workload.loading import load

ROWS = 100_000
MOST_EVENTS = 2_000_000  # events of a Parquet trace up to which it is read to check it
EVENT_COLUMNS = [
    *("time", "event", "volume_id", "image_id", "size_gib", "volume_type", "host"),
    *("project", "encrypted", "first_host", "availability_zone"),
]
INITIAL_COLUMNS = ["kind", "volume_id", "image_id", "size_gib", "host", "last_used", "project"]
# An image's `updated_at` also changes when its upload ends.
UPLOADED = pd.Timedelta(hours=1)
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"


@dataclass
class Counts:
    """Numbers of events written."""

    events: int = 0
    creates: int = 0
    blank: int = 0
    deletes: int = 0


def write(
    cloud: Cloud, folder: Path, fmt: Literal["csv", "parquet"], progress: Callable[[int], None] | None = None
) -> dict[str, Any]:
    """Write the scenario with its files, the observed creates, and import.json; return the last as a dict.

    All files appear at once, or none; `folder` is new or empty.
    """
    with beside(folder) as (new,):
        new.mkdir()
        return _write_all(cloud, new, fmt, progress)


def _write_all(
    cloud: Cloud, folder: Path, fmt: Literal["csv", "parquet"], progress: Callable[[int], None] | None
) -> dict[str, Any]:
    others = Counter[tuple[str, str]]()
    workload: dict[str, Any] = {"trace": f"trace.{fmt}"}
    counts = _write_trace(cloud, folder, fmt, others, progress) if cloud.has_trace else Counts()
    _share(cloud, others)
    if counts.creates:
        cloud.notes += project_quotas.place(cloud)
    else:
        workload = {"generate": Assumed({}, "no source has a history of creates from images")}
        cloud.notes.append(_drawn(cloud, counts))
        for name in ("trace", "observed"):
            (folder / f"{name}.{fmt}").unlink(missing_ok=True)
        counts = Counts()
    if counts.creates and cloud.initial is not None and len(cloud.initial):
        _write_initial(cloud.initial, folder / "initial.csv")
        workload["initial"] = "initial.csv"
    if len(cloud.images):
        _write_table(cloud.images.drop(columns="why"), folder / "images.csv")
    _write_scenario(cloud, workload, folder / "scenario.yaml")
    document = _document(cloud, counts)
    (folder / "import.json").write_text(json.dumps(document, indent=2) + "\n")
    return document


def _drawn(cloud: Cloud, counts: Counts) -> Note:
    """The note why the workload is not a history."""
    why = "no source has a history; the database (--db, --dump) and notifications (--notifications) have"
    if cloud.has_trace:
        there = f"{counts.blank:,} creates without an image and {counts.deletes:,} deletes"
        why = f"the sources have no create from an image in the period, but {there}"
    return Note("assumed", f"workload: generated with parameters from a month of another real cloud: {why}")


def _write_scenario(cloud: Cloud, workload: dict[str, Any], path: Path) -> None:
    """Write a scenario that `validate` accepts, without a Cinder store if no pool has room for it."""
    path.write_text(_scenario(cloud, workload))
    problems = _problems(path)
    if problems and "generate" in workload and isinstance(cloud.store_home, Assumed):
        cloud.store_home = None
        path.write_text(_scenario(cloud, workload))
        problems = _problems(path)
        what = "the generated images do not fit on any pool, so the scenario has no Cinder store"
        cloud.notes.append(Note("assumed", what))
    if problems and cloud.sources.pools is not None:
        problems.append("--pools: if its capacities are too small for existing volumes, import without it")
    if problems:
        raise BadInput(problems)


def _problems(path: Path) -> list[str]:
    """Problems that `validate` finds: values that a scenario may not have though Cinder does, or no space."""
    try:
        case = load(path, MOST_EVENTS)
        found = misfits(case, case.scenario.strategies)
    except BadInput as error:
        found = error.problems
    return [line.replace(str(path), "what was read").replace(f"{path.parent}/", "") for line in found]


def _write_trace(
    cloud: Cloud,
    folder: Path,
    fmt: Literal["csv", "parquet"],
    others: Counter[tuple[str, str]],
    progress: Callable[[int], None] | None,
) -> Counts:
    """Stream the events into one file and the observed creates into another; return the counts.

    `others` gets the creates of private images by projects that do not own them.
    """
    counts = Counts()
    owners = cloud.images.loc[cloud.images["owner"] != "", ["image_id", "owner"]].set_index("image_id")[
        "owner"
    ]
    observed_schema = pa.schema(
        {"volume_id": pa.string(), "create_s": pa.float64(), "downloaded": pa.float64()}
    )
    with (
        _writer(folder / f"trace.{fmt}", _schema(fmt)) as trace,
        _writer(folder / f"observed.{fmt}", observed_schema) as observed,
    ):
        for batch in _events(cloud):
            create = batch["event"] == "create"
            of_image = create & (batch["image_id"] != "")
            counts.events += len(batch)
            counts.creates += int(of_image.sum())
            counts.blank += int((create & ~of_image).sum())
            counts.deletes += int((batch["event"] == "delete").sum())
            owner = batch["image_id"].map(owners)
            strange = batch[of_image & owner.notna() & (batch["project"] != owner)]
            others.update(zip(strange["image_id"], strange["project"], strict=True))
            seen = batch.loc[of_image & batch["create_s"].notna()].reindex(columns=observed_schema.names)
            shown = guarded_table if fmt == "csv" else pd.DataFrame
            events = pa.Table.from_pandas(shown(batch[EVENT_COLUMNS]), _schema(fmt), preserve_index=False)
            trace.write_table(events)
            observed.write_table(pa.Table.from_pandas(shown(seen), observed_schema, preserve_index=False))
            if progress is not None:
                progress(counts.events)
    return counts


def _schema(fmt: str) -> pa.Schema:
    text = pa.string()
    return pa.schema(
        {
            "time": pa.timestamp("us", "UTC"),
            "event": text,
            "volume_id": text,
            "image_id": text,
            "size_gib": pa.int64(),
            "volume_type": text,
            "host": text,
            "project": text,
            "encrypted": pa.bool_(),
            "first_host": text,
            "availability_zone": text,
        }
    )


def _writer(path: Path, schema: pa.Schema) -> Any:
    if path.suffix == ".parquet":
        return pq.ParquetWriter(path, schema)
    return pa_csv.CSVWriter(path, schema, write_options=pa_csv.WriteOptions(quoting_style="needed"))


def _events(cloud: Cloud) -> Iterator[pd.DataFrame]:
    """The trace in the scenario's names, updates of images included."""
    history, telemetry = cloud.sources.history, cloud.sources.telemetry
    if history is not None:
        batches = history.batches(ROWS)
    else:
        assert telemetry is not None
        batches = iter([telemetry.events])
    updates = _updates(cloud)
    default = cinder_options.default_zone(cloud)
    zones = {backend.keys.get("availability_zone", NOVA) for backend in cloud.backends.values()}
    zones -= {default.value if isinstance(default, Assumed) else default}
    for batch in batches:
        if batch.empty:
            continue
        due = updates["time"] <= batch["time"].iloc[-1]
        first = batch["host"].map(cloud.hosts).fillna("") if cloud.placement == "first-host" else ""
        mapped = batch.assign(
            host="",  # creates in a cloud are not pinned to a pool
            first_host=first,
            availability_zone=_zones(batch, zones),
            size_gib=batch["size_gib"].where(batch["event"] == "create").astype("Int64"),
        )
        both = pd.concat([updates[due], mapped]) if due.any() else mapped
        updates = updates[~due]
        yield both.sort_values("time", kind="stable", ignore_index=True)


def _zones(batch: pd.DataFrame, zones: set[str]) -> pd.Series[str] | str:
    """The zone of each event if it is one of `zones`: those of the backends, without the default one."""
    if "availability_zone" not in batch:
        return ""
    zone = batch["availability_zone"].astype("str")
    return zone.where(zone.isin(zones), "")


def _updates(cloud: Cloud) -> pd.DataFrame:
    """`update_image` events of the period. Glance keeps only the last update of an image."""
    columns = [*EVENT_COLUMNS, "create_s"]
    history, images = cloud.sources.history, cloud.sources.glance
    if history is None or images is None:
        return pd.DataFrame(columns=columns)
    changed = images[
        (images["updated_at"] > images["created_at"] + UPLOADED)
        & (images["updated_at"] >= history.since)
        & (images["updated_at"] < history.until)
    ].sort_values("updated_at")
    rows = pd.DataFrame(
        {"time": changed["updated_at"], "event": "update_image", "image_id": changed["image_id"]}
    )
    rows = rows.reindex(columns=columns).astype({"size_gib": "Int64", "create_s": "float64"})
    text = ["volume_id", "volume_type", "host", "project", "first_host", "availability_zone"]
    rows[text] = rows[text].astype("object").fillna("")
    return rows.assign(encrypted=False)


def _share(cloud: Cloud, others: Counter[tuple[str, str]]) -> None:
    """Make images public that are private today but were used by other projects."""
    if not others:
        return
    used = sorted({image_id for image_id, _ in others})
    cloud.images.loc[cloud.images["image_id"].isin(used), "owner"] = ""
    what = f"{sum(others.values())} creates of {len(used)} private images by projects that do not own them"
    cloud.notes.append(
        Note("assumed", f"{what}: these images are public in the scenario ({shortened(used)})")
    )


def _write_initial(initial: pd.DataFrame, path: Path) -> None:
    _write_table(initial[INITIAL_COLUMNS].assign(last_used=initial["last_used"].dt.strftime(_TIME)), path)


def _write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a CSV file. pandas would not quote a carriage return in a name."""
    plain = pa.Table.from_pandas(guarded_table(table), preserve_index=False)
    with _writer(path, plain.schema) as file:
        file.write_table(plain)


def _scenario(cloud: Cloud, workload: dict[str, Any]) -> str:
    history = cloud.sources.history
    today = [cloud.strategy] if cloud.strategy else []
    template = (files("sim.importers") / "scenario.yaml.j2").read_text()
    environment = jinja2.Environment(
        autoescape=False, keep_trailing_newline=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["scalar"] = _scalar
    return environment.from_string(template).render(
        name="imported",
        read=_read(cloud),
        since=history.since.strftime("%Y-%m-%d %H:%M:%S") if history else "",
        until=history.until.strftime("%Y-%m-%d %H:%M:%S UTC") if history else "",
        strategy=cloud.strategy,
        stream_mib_s=assumptions.stream_mib_s(),
        cinder=cinder_options.options(cloud),
        tiers=cloud.tiers,
        backends=cloud.backends,
        images=len(cloud.images),
        store_home=cloud.store_home,
        store_ids=cloud.store_ids,
        stores=cloud.stores,
        workload=workload,
        strategies=list(dict.fromkeys([*today, *STRATEGY_NAMES])),
    )


def _scalar(value: Any) -> str:
    """A value as JSON that is YAML too: what does not print is escaped as YAML does."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(one if one.isprintable() else f"\\U{ord(one):08x}" for one in text)


def _read(cloud: Cloud) -> list[str]:
    sources = cloud.sources
    named = (
        ("cinder.conf", sources.configuration),
        ("the database", sources.history),
        ("Glance", sources.glance),
        ("pools", sources.pools),
        ("notifications", sources.telemetry),
    )
    return [name for name, source in named if source is not None]


def _document(cloud: Cloud, counts: Counts) -> dict[str, Any]:
    """import.json: the data that `calibrate` needs, and all notes."""
    history, telemetry = cloud.sources.history, cloud.sources.telemetry
    period = None if history is None else [history.since.isoformat(), history.until.isoformat()]
    fills: dict[str, int] = {}
    if history is not None:
        fills = {
            cloud.hosts[str(host)]: int(n)
            for host, n in history.fills["host"].value_counts(sort=False).items()
        }
    seen = (
        None if telemetry is None else telemetry.counts.assign(host=telemetry.counts["host"].map(cloud.hosts))
    )
    return {
        "read": _read(cloud),
        "period": period,
        "strategy": cloud.strategy,
        "counts": asdict(counts),
        "hosts": cloud.hosts,
        "assumed": [{"path": list(path), **asdict(one)} for path, one in cloud.assumed().items()],
        "fills": fills if history is not None else None,
        "telemetry": None if seen is None else _rows(seen),
        "notes": [asdict(note) for note in cloud.notes],
        "cinder_conf": _cinder_conf(cloud),
    }


def _cinder_conf(cloud: Cloud) -> dict[str, Any] | None:
    """What lines for this cloud's cinder.conf need: sections by backend, the cache's tenant, and schemes."""
    configuration = cloud.sources.configuration
    if configuration is None:
        return None
    whole = configuration.whole
    tenant = {"project": "cinder_internal_tenant_project_id", "user": "cinder_internal_tenant_user_id"}
    return {
        "sections": {place.backend: place.section for place in cloud.places.values()},
        **{key: whole[option] for key, option in tenant.items() if whole[option]},
        "schemes": [scheme.strip() for scheme in whole["allowed_direct_url_schemes"]],
    }


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    plain = table.astype(object).where(table.notna(), None)
    return [{str(key): value for key, value in row.items()} for row in plain.to_dict("records")]
