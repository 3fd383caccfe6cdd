"""`python -m lab`: see `--help`."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer
from sim.inputs.problems import BadInput
from sim.workload.loading import load

from lab import cloud

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.command()
def up(scenario: Path, folder: Path) -> None:
    """Start a lab, and keep it until Ctrl-C or `stop`."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with cloud.running(load(scenario), folder.absolute()) as lab:
        print(f"ready after {lab.start_s:.0f} s: Cinder's API at http://127.0.0.1:{lab.ports['cinder']}/v3")
        print(f"the SDK's cloud is lab in {lab.folder}/clouds.yaml; Ctrl-C ends it", flush=True)
        ended.wait()


@app.command()
def stop(folder: Path) -> None:
    """End a lab that runs in FOLDER, or what a killed one left behind."""
    import json

    with_pid = folder / "lab.json"
    if with_pid.exists():
        pid = json.loads(with_pid.read_text())["pid"]
        if f"{folder}".encode() in Path(f"/proc/{pid}/cmdline").read_bytes() if Path(f"/proc/{pid}").exists() else False:
            os.kill(pid, signal.SIGTERM)
            return
    cloud.stop(folder.absolute())


def main() -> None:
    try:
        app(standalone_mode=True)
    except (BadInput, cloud.Broken) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
