"""What Cinder leaves when a cinder-volume is killed during a fill, and what it does at its next start."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from lab import cloud, conf
from lab.player import Player
from sim.workload.loading import load

HERE = Path(__file__).parent
SERVER, BACKEND, NODE, TIER = "4-cinder-volume-c1", "flash-a", "c1", "flash"
WAIT_S = 240
# The image of each kill: its fill is slow where it is killed.
MOMENTS = {"download": "database-raw", "write": "windows-qcow2", "clone": "rocky-qcow2"}


def watch(folder: Path, out: Path) -> pd.DataFrame:
    """Kills at each moment; writes what was found then, after the start, and after a new create."""
    case = load(HERE / "scenario.yaml")
    with cloud.running(case, folder) as lab:
        player = Player(case, lab)
        player.upload(folder.parent / "images")
        rows = [row for moment in MOMENTS for row in _killed(lab, player, moment)]
    found = pd.DataFrame(rows)
    out.parent.mkdir(parents=True, exist_ok=True)
    found.to_csv(out, index=False)
    return found


def _killed(lab: cloud.Lab, player: Player, moment: str) -> list[dict[str, Any]]:
    image = MOMENTS[moment]
    volumes = lab.folder / "arrays" / BACKEND / "volumes"
    before = {path.name for path in volumes.iterdir()}
    conversion = lab.folder / "conversion" / NODE
    created = _create(lab, player, image, moment)

    def new() -> list[Path]:
        return [path for path in volumes.iterdir() if path.name not in before]

    reached = {
        "download": lambda: any(path.stat().st_size > 1 << 24 for path in conversion.glob("image_fetch_*")),
        "write": lambda: any(path.stat().st_blocks for path in new()),
        "clone": lambda: len(new()) > 1,
    }
    _wait(reached[moment])
    os.killpg(int((lab.folder / "pids" / SERVER).read_text()), signal.SIGKILL)
    time.sleep(3)
    rows = [_state(lab, player, moment, "killed", created, new(), conversion)]
    lab.restart(SERVER)
    host = conf.host(lab.scenario, NODE, BACKEND)
    _wait(lambda: cloud.consumed(lab, f"cinder-volume.{host}"))
    time.sleep(5)
    rows.append(_state(lab, player, moment, "started again", created, new(), conversion))
    again = _create(lab, player, image, f"{moment}-again")
    _wait(lambda: _status(lab, again) in ("available", "error"))
    rows.append(_state(lab, player, moment, "created again", again, new(), conversion))
    return rows


def _create(lab: cloud.Lab, player: Player, image: str, name: str) -> str:
    size = -(-player.case.images[image].virtual_size_bytes // conf.GIB) + 1
    body = {"size": size, "imageRef": player.glance_ids[image], "name": name, "volume_type": TIER}
    return str(lab.block_storage().post("/volumes", json={"volume": body}).json()["volume"]["id"])


def _status(lab: cloud.Lab, volume: str) -> str:
    return str(lab.query(f"select status from volumes where id = '{volume}'")[0]["status"])


def _state(
    lab: cloud.Lab,
    player: Player,
    moment: str,
    when: str,
    volume: str,
    files: list[Path],
    conversion: Path,
) -> dict[str, Any]:
    image = player.glance_ids[MOMENTS[moment]]
    (row,) = lab.query(f"select status, size from volumes where id = '{volume}'")
    filled = lab.query(
        f"select status from volumes where deleted = 0 and display_name = 'image-{image}' order by created_at"
    )
    held = lab.query(f"select is_used_lock('cinder-{image}') as holder")[0]["holder"]
    return {
        "killed_in": moment,
        "when": when,
        "volume": row["status"],
        "size_gib": row["size"],
        "image_volumes": " ".join(one["status"] for one in filled),
        "entries": len(lab.query(f"select id from image_volume_cache_entries where image_id = '{image}'")),
        "lock_held": held is not None,
        "files_on_array": len(files),
        "files_in_conversion_dir": len(list(conversion.iterdir())),
        "workers": len(lab.query("select id from workers")),
    }


def _wait(ready: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not ready():
        if time.monotonic() > end:
            raise cloud.Broken("the fill does not come to where it is to be killed")
        time.sleep(0.1)
