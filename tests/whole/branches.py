"""Which branches of Cinder's own code the cases take: `python -m tests.whole.branches` measures it.

Counted are the functions that a create from an image, an upload or a backend's report goes through:
`FUNCTIONS` without `LEFT_OUT`. `unreached.csv` has each branch of them that no case takes, with its reason:
what a branch needs, or why no create from an image and no upload can take it.
"""

from __future__ import annotations

import ast
import csv
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from itertools import chain, groupby
from pathlib import Path
from tempfile import TemporaryDirectory

import coverage

TABLE = Path(__file__).with_name("unreached.csv")
END = "(the end)"
# By file of Cinder: the classes and functions that count.
FUNCTIONS = {
    "image/cache.py": ("ImageVolumeCache",),
    "volume/flows/manager/create_volume.py": (
        *("get_flow", "OnFailureRescheduleTask", "ExtractVolumeRefTask", "ExtractVolumeSpecTask"),
        *("NotifyVolumeActionTask", "CreateVolumeFromSpecTask", "CreateVolumeOnFinishTask"),
    ),
    "volume/manager.py": (
        "VolumeManager._create_image_cache_volume_entry",
        "VolumeManager._clone_image_volume",
        "VolumeManager._clone_image_volume_and_add_location",
        "VolumeManager.copy_volume_to_image",
        "VolumeManager._delete_image",
    ),
    "scheduler/host_manager.py": ("BackendState", "PoolState", "HostManager"),
    "scheduler/filters/availability_zone_filter.py": ("AvailabilityZoneFilter",),
    "scheduler/filters/capacity_filter.py": ("CapacityFilter",),
    "scheduler/filters/capabilities_filter.py": ("CapabilitiesFilter",),
}
# Functions and classes of these that neither a create from an image nor an upload goes through, by what does.
LEFT_OUT = {
    "placement of backups": (
        *("HostManager.get_az", "HostManager.get_backup_host", "HostManager._list_backup_services"),
        *("HostManager._get_any_available_backup_service", "HostManager._get_available_backup_service_host"),
        *("HostManager._az_matched", "HostManager._is_backup_service_enabled"),
    ),
    "the API's list of pools": (
        *("HostManager.get_pools", "HostManager._filter_pools_by_volume_type"),
        "HostManager._equal_after_convert",
    ),
    "notifications of capacity": (
        *("HostManager.notify_service_capabilities", "HostManager.get_usage_and_notify"),
        *("HostManager._get_usage", "HostManager._get_pool_usage", "HostManager._notify_capacity_usage"),
    ),
    "the start of a scheduler": ("HostManager._choose_backend_filters",),
    "volumes that are made from snapshots and backups": (
        "CreateVolumeFromSpecTask._create_from_snapshot",
        "CreateVolumeFromSpecTask._create_from_backup",
    ),
}
# Cases that together take all branches that the named cases take: they run through the whole of Cinder.
CHOSEN = (
    *("refused_image", "lru_by_both", "stale", "clone_limit", "extend_fails", "capacity-True", "encrypted"),
    *("cache_off_on_one_backend", "driver_clones_raw", "all_reserved-0.004", "placement_without_capacity"),
    *("thin_pools_that_are_full-1.0", "thin_pools_that_are_full-1.5", "conversion_disabled-3"),
    *("image_deleted_before_the_next_attempt", "volumes_of_the_images_size", "no_op_of_other_formats"),
    *("no_op_quota_volumes-1", "uploads_refused-copy", "private_uploads-no-op", "cache_across_pools"),
    *("several_nodes-True-cloud", "the_later_fill_finds_the_entry", "image_volume_has_no_room-scheduler"),
)

Branch = tuple[str, str, str]  # function, the text of its line, the text of the line that it leads to


@dataclass(frozen=True)
class Measured:
    """The branches that were taken, and those that were not: (function, line, to)."""

    taken: list[Branch]
    left: list[Branch]


def main() -> None:
    """Print what was not taken and is not in the table, what is there and was taken, and the share."""
    found, known = measured(), read()
    left = set(found.left)
    for branch in sorted(left - set(known)):
        print("not in the table:", *branch, sep="\n    ")
    for branch in sorted(set(known) - left):
        print("taken, or not there:", *branch, sep="\n    ")
    possible = len(found.taken) + sum(known.get(branch, True) for branch in found.left)
    what = "branches that a create from an image or an upload can take"
    print(f"{len(found.taken)} of {possible} {what}: {len(found.taken) / possible:.1%}")
    sys.exit(0 if left == set(known) else 1)


def read() -> dict[Branch, bool]:
    """The table: whether a create from an image or an upload can take each branch that no case takes."""
    with TABLE.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    return {(row["function"], row["line"], row["to"]): row["possible"] == "yes" for row in rows}


def summary() -> list[str]:
    """The lines of a page's tables: why branches are not taken, and what is not counted."""
    with TABLE.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    lines = ["| why no case takes them | can a create or an upload? | branches | in |", "|---|---|---|---|"]
    for (why, possible), many in groupby(sorted(rows, key=_why), _why):
        functions = list(dict.fromkeys(row["function"] for row in many))
        count = sum(_why(row) == (why, possible) for row in rows)
        lines.append(f"| {why} | {possible} | {count} | {', '.join(f'`{name}`' for name in functions)} |")
    lines += ["", "| not counted | functions |", "|---|---|"]
    for why, names in LEFT_OUT.items():
        lines.append(f"| {why} | {', '.join(f'`{name}`' for name in names)} |")
    return lines


def _why(row: dict[str, str]) -> tuple[str, str]:
    return row["why"], row["possible"]


def measured() -> Measured:
    """Run the cases and look at the branches of `FUNCTIONS`."""
    files = {name: str(root() / name) for name in FUNCTIONS}
    measure = coverage.Coverage(
        data_file=None, branch=True, include=list(files.values()), concurrency="greenlet", config_file=False
    )
    measure.start()
    try:
        _run_cases()
    finally:
        measure.stop()
    taken: list[Branch] = []
    left: list[Branch] = []
    for name, path in files.items():
        source = Path(path).read_text().splitlines()
        analysis = measure._analyze(path)
        missing = {(line, to) for line, many in analysis.missing_branch_arcs().items() for to in many}
        for line, to in _branches(analysis):
            function = _function_at(name, line)
            if function is not None:
                text = source[line - 1].strip(), source[to - 1].strip() if to > 0 else END
                (left if (line, to) in missing else taken).append((function, *text))
    return Measured(taken, left)


def _branches(analysis: coverage.results.Analysis) -> Iterator[tuple[int, int]]:
    """Lines from which there are several ways, with each way."""
    ways: dict[int, set[int]] = {}
    for line, to in analysis.arc_possibilities:
        ways.setdefault(line, set()).add(to)
    for line, many in sorted(ways.items()):
        if len(many) > 1:
            yield from ((line, to) for to in sorted(many))


def root() -> Path:
    """The folder of the installed Cinder."""
    spec = find_spec("cinder")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent


@cache
def spans(name: str) -> list[tuple[int, int, str]]:
    """The first and the last line of each function of a file, inner ones too, and its name."""
    found: list[tuple[int, int, str]] = []

    def walk(node: ast.AST, names: tuple[str, ...]) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                path = (*names, child.name)
                if isinstance(child, ast.FunctionDef):
                    found.append((child.lineno, child.end_lineno or child.lineno, ".".join(path)))
                walk(child, path)

    walk(ast.parse((root() / name).read_text()), ())
    return found


def _function_at(name: str, line: int) -> str | None:
    """The innermost counted function that a line is in."""
    around = [(last - first, function) for first, last, function in spans(name) if first <= line <= last]
    if not around:
        return None
    function = min(around)[1]
    return (
        function if _in(function, FUNCTIONS[name]) and not _in(function, chain(*LEFT_OUT.values())) else None
    )


def _in(function: str, names: Iterable[str]) -> bool:
    return any(f"{function}.".startswith(f"{name}.") for name in names)


def _run_cases() -> None:
    """Imported here: coverage sees only what is imported after it started."""
    from . import driven_manager, driven_scheduler  # noqa: F401 register their own
    from .odd import DRIVEN
    from .reference import run_whole
    from .scenarios import CASES, STRATEGIES

    with TemporaryDirectory() as folder:
        for name in CHOSEN:
            run_whole(CASES[name](Path(folder) / name), STRATEGIES[name][-1])
        for name, case in DRIVEN.items():
            case(Path(folder) / name)


if __name__ == "__main__":
    main()
