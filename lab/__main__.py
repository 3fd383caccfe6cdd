"""The lab's command: `python -m lab --help`."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from lab import clone_first as weigher
from lab import cloud, killed
from lab import deployed as whole
from lab import experiment as everything
from lab import short as short_run
from sim.inputs.problems import BadInput
from sim.workload.loading import load

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
Folder = Annotated[Path, typer.Argument(metavar="DIR")]


@app.command()
def up(scenario: Path, folder: Folder) -> None:
    """Start a lab of SCENARIO in the new folder DIR, and keep it until Ctrl-C or `stop`."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with cloud.running(load(scenario), folder.absolute()) as lab:
        print(f"ready after {lab.start_s:.0f} s")
        print(f"Cinder: http://127.0.0.1:{lab.ports['cinder']}/v3 (the token is USER:PROJECT)")
        print(f"Both for the openstack command: cloud `lab` in {lab.folder / 'clouds.yaml'}")
        print(f"MariaDB: {lab.folder}/mariadb.socket; logs: {lab.folder}/logs; Ctrl-C ends it", flush=True)
        ended.wait()


@app.command()
def stop(folder: Folder) -> None:
    """End the lab in DIR, or what is left of it."""
    cloud.stop(folder.absolute())


@app.command()
def measure(name: str, folder: Folder, out: Path) -> None:
    """Play the run NAME of configurations.yaml on a lab in the new folder DIR, and write tables into OUT."""
    everything.measure_run(name, folder.absolute(), out)


@app.command()
def predict(calibrated: Path, out: Path) -> None:
    """Simulate all runs with the times of CALIBRATED, and write tables and their hashes into OUT."""
    everything.predict(calibrated, out)


@app.command()
def report(results: Path = everything.RESULTS, picture: Path = everything.PICTURE) -> None:
    """Compare what was predicted and measured in RESULTS, and draw PICTURE."""
    everything.report(results, picture)


@app.command()
def kill(folder: Folder, out: Path = everything.RESULTS / "killed.csv") -> None:
    """Kill a cinder-volume in the middle of fills, on a lab in the new folder DIR; write what is left."""
    print(killed.watch(folder.absolute(), out).to_string())


@app.command()
def clone_first(folder: Folder, out: Path = everything.RESULTS / "clone-first") -> None:
    """Measure hits without plugins/clone-first, with it, and with its option removed, in half an hour.

    Each on a new lab below the new folder DIR; write into OUT what was measured and simulated.
    """
    print(weigher.measured(folder.absolute(), out).to_string(index=False))


@app.command()
def short() -> None:
    """Play a short run in four minutes, and fail if it does not go as the simulator says.

    Without the servers that it needs it says so, and fails only if REQUIRE_SERVERS is set.
    """
    if (lacking := cloud.missing()) and not os.environ.get("REQUIRE_SERVERS"):
        print(f"skipped: {lacking}")
    elif lines := short_run.check():
        sys.exit("\n".join(lines))


@app.command()
def deployed(folder: Folder, out: Path = everything.RESULTS / "deployed") -> None:
    """Deploy what `advise` says about a lab in the new folder DIR, in 50 minutes; then judge it and undo it.

    Write tables into OUT, and fail if something is not as it must be.
    """
    if lacking := whole.missing():
        raise cloud.Broken(lacking)
    if lines := whole.whole(folder.absolute(), out):
        sys.exit("\n".join(lines))


@app.command()
def experiment(folder: Folder) -> None:
    """Do the whole experiment again, with labs below the new folder DIR; write into lab/results and docs."""
    everything.do(folder.absolute())


def main() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the lab ends what it started
    try:
        app()
    except (BadInput, cloud.Broken) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
