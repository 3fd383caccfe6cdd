"""Many kills of each command at new moments, for `make killed`; some also with two workers, and with Dask.

python -m tests.killed [KILLS] [SEED] [COMMAND...]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from distributed import LocalCluster

from .kills import COMMANDS, Kills, moments


def main(kills: int, seed: int, names: list[str]) -> int:
    """Returns 1 if anything was a mix or was left, else 0."""
    wrong = 0
    with (
        tempfile.TemporaryDirectory() as temporary,
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
    ):
        ways = {"2 workers": "--workers 2", "Dask": f"--dask {cluster.scheduler_address}"}
        wanted = [(name, name, "--workers 1") for name in COMMANDS]
        for way, workers in ways.items():
            wanted += [(f"{name} with {way}", name, workers) for name in ("sweep", "plan")]
        wanted.append(("compare with 2 workers", "compare", ways["2 workers"]))
        for title, name, workers in wanted:
            if names and title not in names:
                continue
            killed = Kills(name, Path(temporary, title), workers)
            for moment in moments(seed, kills, killed.seconds):
                killed.kill(moment)
            killed.end()
            counts = ", ".join(f"{number} {age}" for age, number in killed.counts.items())
            print(f"{title}: {kills} kills: {counts}, {len(killed.told)} wrong", flush=True)
            for line in killed.told:
                print(f"  {line}", flush=True)
            wrong += len(killed.told)
    return min(wrong, 1)


if __name__ == "__main__":
    given = sys.argv[1:]
    drawn = int(given[1]) if len(given) > 1 else int(time.time())
    print(f"seed {drawn}")
    raise SystemExit(main(int(given[0]) if given else 100, drawn, given[2:]))
