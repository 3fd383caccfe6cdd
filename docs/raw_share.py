"""How results depend on the share of raw images: `python docs/raw_share.py` runs two_tiers.yaml, and
`python docs/raw_share.py SCENARIO OUT.csv` another one.

Images become raw or qcow2, evenly over the image list. A qcow2 image has the size of its file in
sim/data/cloud_images.csv, which has the first word of its name, and a raw one its virtual size.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import yaml

import sim

ROOT = Path(__file__).parent.parent
SHARES = (0, 0.25, 0.5, 0.75, 1)
STRATEGIES = ("store-only", "replicated-store", "on-demand-store", "cache-only", "combined")


def dealt(images: pd.DataFrame, share: float) -> pd.DataFrame:
    """The images, of which `share` are raw. All lie on the home pool of the store."""
    order = pd.Series(range(1, len(images) + 1), index=images.index)
    raw = (order * share).astype(int) > ((order - 1) * share).astype(int)
    known = pd.read_csv(ROOT / "sim/data/cloud_images.csv")
    files = known.set_index(known["image"].str.split().str[0])["download_bytes"]
    sizes = images["virtual_size_bytes"].where(raw, images["name"].str.split().str[0].map(files))
    made = images.assign(disk_format=raw.map({True: "raw", False: "qcow2"}), size_bytes=sizes.astype("int64"))
    return made.drop(columns="store_hosts", errors="ignore")


def row(path: Path, share: float, folder: Path) -> dict[str, str]:
    """Hits, p95 and price of each strategy, for all tiers together."""
    scenario = yaml.safe_load(path.read_text())
    images = pd.read_csv(path.parent / scenario["images"], keep_default_na=False)
    dealt(images, share).to_csv(folder / "images.csv", index=False)
    trace = str((path.parent / scenario["workload"]["trace"]).resolve())
    scenario |= {"images": "images.csv", "strategies": list(STRATEGIES)}
    scenario["workload"] |= {"trace": trace}
    (folder / "scenario.yaml").write_text(yaml.safe_dump(scenario))
    case = sim.load(folder / "scenario.yaml")
    asked = case.trace.events.query("event == 'create' and image_id != ''")["image_id"]
    raw = asked.isin(images["image_id"][(dealt(images, share)["disk_format"] == "raw").to_numpy()])
    found = sim.compare(case, engine="fast").query("tier == 'all'").set_index("strategy")
    cells = {
        name: f"{100 * one.clone_hit_rate:.1f} / {one.create_s_p95:.0f} / {one.price_month:.1f}"
        for name, one in zip(found.index, found.itertuples(), strict=True)
    }
    return {"raw images %": f"{100 * share:.0f}", "raw creates %": f"{100 * raw.mean():.0f}"} | cells


def main(path: str = "scenarios/two_tiers.yaml", out: str = "docs/raw_share.csv") -> None:
    with TemporaryDirectory() as folder:
        rows = [row(ROOT / path, share, Path(folder)) for share in SHARES]
    pd.DataFrame(rows).to_csv(ROOT / out, index=False, lineterminator="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
