"""The array alone against a naive model that remembers volumes and counts everything afresh."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from sim.inputs.backend import Backend
from sim.model.arrays import PAYERS, Array, AtCloneLimit, Busy, Content, Refusal

HOSTS = st.sampled_from(("a#p0", "a#p1"))
IDS = st.integers(0, 7).map(lambda number: f"v{number}")  # few: an id that is there is asked for again
SIZES = st.integers(1, 6)
KINDS = st.sampled_from(PAYERS)
TIERS = st.sampled_from(("flash", "disk"))
CONTENTS = st.sampled_from([Content(("x",), 1.0), Content(("y",), 2.5), Content(("z",), 0.75)])
LIMIT = st.sampled_from((None, None, 1, 2, 4))
POOL = st.fixed_dictionaries({"capacity_gib": st.sampled_from((None, 3, 8.5, 20)), "max_volumes": LIMIT})
SPECS = st.fixed_dictionaries(
    {
        "volume_type": st.just(["flash", "disk"]),
        "pools": st.fixed_dictionaries({"p0": POOL, "p1": POOL}),
        "max_volumes": st.sampled_from((None, None, 3, 6)),
        "create_s": st.just(1.0),
        "clone_s": st.just(2.0),
        "delete_s": st.just(3.0),
        "extend_s": st.just(4.0),
        "clone_mib_s": st.sampled_from((None, None, 512)),
        "max_clones_per_volume": LIMIT,
        "clone_family_limit": st.sampled_from((None, None, 2, 4)),
        "delete_with_clones": st.sampled_from(("allowed", "busy")),
        "thin": st.booleans(),
        "dedupe": st.booleans(),
        "max_over_subscription_ratio": st.sampled_from((1.0, 1.5, 20.0)),
    }
).map(lambda spec: Backend.model_validate(spec))


@dataclass(eq=False)
class Naive:
    """A volume of the model. `data` is what it shares with others: equal data are held once."""

    host: str
    size: int
    kind: str
    tier: str
    content: Content | None = None
    data: object = None
    parent: Naive | None = None


class Totals:
    """A meter: adds up what it is told, by host, tier and kind."""

    def __init__(self) -> None:
        self.volumes: Counter[Any] = Counter()
        self.provisioned: Counter[Any] = Counter()
        self.physical: Counter[Any] = Counter()

    def add(self, host: str, tier: str, kind: str, volumes: int, provisioned: float, physical: float) -> None:
        self.volumes[host, tier, kind] += volumes
        self.provisioned[host, tier, kind] += provisioned
        self.physical[host, kind] += physical


def first_of(volume: Naive) -> Naive:
    """The volume from which another descends by copy-on-write clones, gone or not."""
    return volume if volume.parent is None else first_of(volume.parent)


class ArrayMachine(RuleBasedStateMachine):
    """Every rule says what the model expects, an error's class or seconds, and the array must agree."""

    going = Bundle("going")  # volumes whose delete has begun

    @initialize(spec=SPECS)
    def array(self, spec: Backend) -> None:
        self.spec = spec
        self.meter = Totals()
        self.array = Array("a", spec, self.meter)
        self.there: dict[str, Naive] = {}

    # -- the model ---------------------------------------------------------------------------------

    def clones(self, volume: Naive) -> int:
        return sum(each.parent is volume for each in self.there.values())

    def family(self, volume: Naive) -> int:
        return sum(first_of(each) is first_of(volume) for each in self.there.values())

    def here(self, host: str) -> list[Naive]:
        return [each for each in self.there.values() if each.host == host]

    def held(self, host: str) -> dict[object, float]:
        """GiB by data on a pool."""
        return {each.data: each.content.gib for each in self.here(host) if each.content}

    def physical(self, host: str) -> float:
        return sum(self.held(host).values()) if self.spec.thin else sum(v.size for v in self.here(host))

    def room(self, host: str, size: int = 0, content: Content | None = None) -> bool:
        """Whether `size` GiB of volume and new data fit a pool."""
        pool = self.spec.pools[host[2:]]
        if pool.capacity_gib is None:
            return True
        provisioned = sum(each.size for each in self.here(host)) + size
        ratio = self.spec.max_over_subscription_ratio if self.spec.thin else 1.0
        if size > 0 and provisioned > pool.capacity_gib * ratio:
            return False
        if content is None or not self.spec.thin:
            return True
        new = 0.0 if self.spec.dedupe and content.key in self.held(host) else content.gib
        return new == 0 or self.physical(host) + new <= pool.capacity_gib

    def place(self, host: str) -> bool:
        most, in_all = self.spec.pools[host[2:]].max_volumes, self.spec.max_volumes
        return (most is None or len(self.here(host)) < most) and (in_all is None or len(self.there) < in_all)

    def data_of(self, content: Content) -> object:
        return content.key if self.spec.dedupe else object()

    def agree(self, fits: bool, seconds: float | None, operation: Any, *args: Any) -> bool:
        """Whether the operation succeeded, as it must exactly if it `fits`."""
        try:
            assert operation(*args) == seconds
        except Refusal:
            assert not fits
            return False
        assert fits
        return True

    # -- rules ---------------------------------------------------------------------------------------

    @rule(name=IDS, host=HOSTS, size=SIZES, kind=KINDS, tier=TIERS)
    def create(self, name: str, host: str, size: int, kind: Any, tier: str) -> None:
        fits = name not in self.there and self.place(host) and self.room(host, size)
        if self.agree(fits, 1.0, self.array.create, name, host, size, kind, tier):
            self.there[name] = Naive(host, size, kind, tier)

    @rule(name=IDS, content=CONTENTS)
    def write(self, name: str, content: Content) -> None:
        volume = self.there.get(name)
        if volume is not None and volume.content is not None:
            return  # a volume is written once, when it is made
        fits = volume is not None and self.room(volume.host, 0, content)
        if self.agree(fits, None, self.array.write, name, content):
            assert volume is not None
            volume.content, volume.data = content, self.data_of(content)

    @rule(name=IDS, source=IDS, host=HOSTS, size=SIZES, kind=KINDS, tier=TIERS)
    def clone(self, name: str, source: str, host: str, size: int, kind: Any, tier: str) -> None:
        copies = self.spec.clone_mib_s is not None
        parent = self.there.get(source)
        if parent is not None and not copies:
            host = parent.host  # clones across pools are not modelled
        args = (name, source, host, size, kind, tier)
        limit = self.spec.max_clones_per_volume
        full = parent and not copies and limit is not None and self.clones(parent) >= limit
        most = self.spec.clone_family_limit
        full = full or (parent and not copies and most is not None and self.family(parent) >= most)
        if parent and name not in self.there and full:
            try:
                self.array.clone(*args)
            except AtCloneLimit:
                return
            raise AssertionError("no SnapshotLimitReached")
        content = parent.content if parent else None
        fits = bool(parent) and name not in self.there and self.place(host)
        fits = fits and self.room(host, size, content if copies else None)
        seconds = 2.0 + parent.size * 1024 / 512 if copies and parent else 2.0
        if self.agree(fits, seconds, self.array.clone, *args):
            assert parent is not None
            self.there[name] = Naive(host, size, kind, tier, content, parent.data, None if copies else parent)
            if copies and content:
                self.there[name].data = self.data_of(content)

    @rule(name=IDS, host=HOSTS, size=SIZES, tier=TIERS, content=CONTENTS)
    def clone_from_glance(self, name: str, host: str, size: int, tier: str, content: Content) -> None:
        copies = self.spec.clone_mib_s is not None
        fits = name not in self.there and self.place(host)
        fits = fits and self.room(host, size, content if copies else None)
        seconds = 2.0 + content.gib * 1024 / 512 if copies else 2.0
        if self.agree(fits, seconds, self.array.clone_from_glance, name, host, size, tier, content):
            self.there[name] = Naive(host, size, "user", tier)
            if copies:
                self.there[name].content, self.there[name].data = content, self.data_of(content)

    @rule(name=IDS, size=SIZES)
    def extend(self, name: str, size: int) -> None:
        volume = self.there.get(name)
        fits = volume is not None and self.room(volume.host, size - volume.size)
        if self.agree(fits, 4.0, self.array.extend, name, size):
            assert volume is not None
            volume.size = size

    @rule(name=IDS, target=going)
    def begin_delete(self, name: str) -> Any:
        busy = self.spec.delete_with_clones == "busy"
        if name not in self.there:
            assert self.array.begin_delete(name) is None
            return multiple()
        try:
            seconds = self.array.begin_delete(name)
        except Busy:
            assert busy and self.clones(self.there[name])
            return multiple()
        assert seconds == 3.0
        assert not (busy and self.clones(self.there[name]))
        return name

    @rule(name=consumes(going))
    def end_delete(self, name: str) -> None:
        self.array.end_delete(name)
        gone = self.there.pop(name, None)  # another delete of it may have come first
        for each in self.there.values():
            if each.parent is gone:
                each.parent = None

    # -- what must hold after each -------------------------------------------------------------------

    @invariant()
    def counts(self) -> None:
        assert set(self.array.volumes) == set(self.there)
        for name, volume in self.there.items():
            assert self.array.volumes[name].clones == self.clones(volume)
            assert self.array.volumes[name].size_gib == volume.size
        for host, pool in self.array.pools.items():
            here = self.here(host)
            assert pool.volumes == len(here)
            assert pool.cached == sum(each.kind == "cache" for each in here)
            assert pool.provisioned_gib == sum(each.size for each in here)
            assert pool.physical_gib == self.physical(host)
            assert self.array.has_place(host) == self.place(host)
            assert set(pool.lineages) == (set(self.held(host)) if self.spec.dedupe else set())

    @invariant()
    def limits(self) -> None:
        limit, most = self.spec.max_clones_per_volume, self.spec.clone_family_limit
        assert self.spec.max_volumes is None or len(self.there) <= self.spec.max_volumes
        for volume in self.there.values():
            assert limit is None or self.clones(volume) <= limit
            assert most is None or self.family(volume) <= most
        for host in self.array.pools:
            pool = self.spec.pools[host[2:]]
            assert pool.max_volumes is None or len(self.here(host)) <= pool.max_volumes
            assert pool.capacity_gib is None or self.physical(host) <= pool.capacity_gib

    @invariant()
    def meter_knows(self) -> None:
        """Users pay for data that they share, then the store; the cache for what it alone holds."""
        volumes, provisioned, physical = Counter[Any](), Counter[Any](), Counter[Any]()
        for each in self.there.values():
            volumes[each.host, each.tier, each.kind] += 1
            provisioned[each.host, each.tier, each.kind] += each.size
            if not self.spec.thin:
                physical[each.host, each.kind] += each.size
        for host in self.array.pools if self.spec.thin else ():
            for data, gib in self.held(host).items():
                holders = {each.kind for each in self.here(host) if each.data == data}
                physical[host, next(kind for kind in PAYERS if kind in holders)] += gib
        assert +self.meter.volumes == volumes
        assert +self.meter.provisioned == provisioned
        assert +self.meter.physical == physical


TestArray = ArrayMachine.TestCase
