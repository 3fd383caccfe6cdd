"""How large a workload is, whether or not it is in memory."""

from __future__ import annotations

from dataclasses import dataclass

from sim.inputs.generator import DAY
from sim.inputs.memory import RUN_BYTES, gib_of
from sim.inputs.scenario import Case


@dataclass(frozen=True)
class Size:
    """Events, creates from an image, and whether they were counted or (of a workload not drawn) estimated."""

    events: int
    creates: int
    counted: bool = True

    @property
    def run_gib(self) -> float:
        """GiB that a run with all events in memory needs."""
        return gib_of(self.events, RUN_BYTES)


def size_of(case: Case) -> Size:
    """See `sim.api.size_of`."""
    events, spec = case.trace.events, case.scenario.workload.generate
    if len(events):
        return Size(len(events), int(((events["event"] == "create") & (events["image_id"] != "")).sum()))
    if spec is not None:
        creates = case.scenario.workload.growth * spec.creates_per_day * spec.duration / DAY
        others = spec.expected_events - 2 * spec.creates_per_day * spec.duration / DAY
        return Size(round(2 * creates + others), round(creates * (1 - spec.blank_share)), counted=False)
    from sim.analysis.streaming import checked_in_parts

    return Size(*checked_in_parts(case))
