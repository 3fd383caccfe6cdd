"""Which branches of Cinder's own code the named cases take: `python -m tests.whole.branches` measures it.

Counted are the functions that a create from an image or an upload goes through (`FUNCTIONS`). `unreached.csv`
has each branch that no case takes, with its reason: what a branch needs, or why no create from an image and
no upload can take it.
"""

from __future__ import annotations

import ast
import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
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
    ),
    "scheduler/host_manager.py": ("BackendState", "PoolState", "HostManager"),
    "scheduler/filters/availability_zone_filter.py": ("AvailabilityZoneFilter",),
    "scheduler/filters/capacity_filter.py": ("CapacityFilter",),
    "scheduler/filters/capabilities_filter.py": ("CapabilitiesFilter",),
}
# Cases that together take all branches that the named cases take: they run through the whole of Cinder.
CHOSEN = (
    *(
        "several_nodes-True-cloud",
        "cache_across_pools",
        "cache_on_another_array-True",
        "store_across_pools-True",
    ),
    *("no_op-True", "no_op_of_other_formats", "no_op_quota_volumes-1", "encrypted_uploads-no-op"),
    *(
        "uploads_refused-copy",
        "private_uploads-no-op",
        "refused_image",
        "stale",
        "lru_by_both",
        "clone_limit",
    ),
    *("busy_deletes", "capacity-True", "capacity-False", "extend_fails", "quota_volumes", "encrypted"),
    *(
        "driver_clones_raw",
        "blank_volumes",
        "rescheduling-3",
        "all_reserved-0.004",
        "placement_without_capacity",
    ),
    *("two_tiers_of_one_backend", "zones_with_reschedules-3", "several_nodes-False-node"),
    *("cache_off_on_one_backend", "no_op_clone_limit-busy", "reserved", "mixture-0"),
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
    wanted = any(f"{function}.".startswith(f"{counted}.") for counted in FUNCTIONS[name])
    return function if wanted else None


def _run_cases() -> None:
    """Imported here: coverage sees only what is imported after it started."""
    from .reference import run_whole
    from .scenarios import CASES, STRATEGIES

    with TemporaryDirectory() as folder:
        for name in CHOSEN:
            run_whole(CASES[name](Path(folder) / name), STRATEGIES[name][-1])


if __name__ == "__main__":
    main()
