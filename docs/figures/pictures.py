"""Pictures of pages: that of the first example. Storms and the lab draw their own."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt

import sim
from sim.inputs.strategies import STRATEGIES

ROOT = Path(__file__).parents[2]
SHOWN = ("clone_hit_rate", "create_s_p95", "image_provisioned_gib_mean")


def two_tiers(path: Path) -> None:
    """Draw the strategies on `two_tiers.yaml`, a row a tier, into a file."""
    case = sim.load(ROOT / "scenarios" / "two_tiers.yaml")
    table = sim.compare(case, STRATEGIES, engine="fast")
    with plt.rc_context({"figure.dpi": 100, "axes.titlesize": 10}):
        figure, axes = plt.subplots(2, 3, figsize=(9.5, 4.8), layout="constrained", sharex="col")
        for row, tier in zip(axes, case.scenario.tiers, strict=True):
            for ax, measure in zip(row, SHOWN, strict=True):
                sim.plots.by_strategy(table[table["tier"] == tier], measure, ax)
                ax.set_title(
                    f"{tier}: {sim.plots.MEASURES[measure].replace('95th percentile', 'p95')}", loc="left"
                )
                ax.tick_params(labelleft=ax is row[0])
        axes[0, 1].set_xlim(0, 1.3 * table["create_s_p95"].max())
        figure.savefig(path, dpi=200, metadata={"Software": None})
        plt.close(figure)
