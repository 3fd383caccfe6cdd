"""Small scenarios of which every limit has been simulated."""

from __future__ import annotations

import pytest

from tests.planner.enumerated import Everything, Use, backend, drawn, everything, table_of, write

HOUR_S = 3600.0


@pytest.fixture(scope="session")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Everything:
    """Two tiers on three backends, one of two pools, which share nothing but their prices' currency."""
    path = write(
        tmp_path_factory.mktemp("apart"),
        {
            "flash-a": backend("flash", (3, 2), pools=("p0", "p1")),
            "flash-b": backend("flash", (2, 1)),
            "disk-a": backend("disk", (0, 0)),
        },
        {"a1": 1, "a2": 2, "b1": 1, "b2": 2, "d1": 1},
        drawn(
            [
                Use("flash-a#p0", "flash", {"a1": 2, "a2": 1}, 18),
                Use("flash-a#p1", "flash", {"a1": 1, "a2": 2}, 18),
                Use("flash-b#p0", "flash", {"b1": 2, "b2": 1}, 30),
                Use("disk-a#p0", "disk", {"d1": 1}, 24),
            ],
            days=12,
            seed=3,
        ),
        tiers={
            "flash": {"price_gib_month": 0.5, "price_volume_month": 0.25},
            "disk": {"price_gib_month": 0.25},
        },
    )
    return everything(path, strategies=["none", "cache-only"])


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> Everything:
    """An array that takes so few volumes that image-volumes leave users without; and one that does not."""
    path = write(
        tmp_path_factory.mktemp("full"),
        {
            "tight": backend("flash", (2, 1), max_volumes=8),
            "wide": backend("disk", (1, 1)),
        },
        {"a": 1, "b": 1, "c": 2, "d": 1},
        drawn(
            [
                Use("tight#p0", "flash", {"a": 3, "b": 2, "c": 2}, 70, lives_s=50_000),
                Use("wide#p0", "disk", {"d": 1}, 12),
            ],
            days=8,
            seed=5,
        ),
    )
    return everything(path, strategies=["none", "cache-only"])


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Everything:
    """Two backends; the store has the most asked-for image of the first, and a large one hardly asked for."""
    path = write(
        tmp_path_factory.mktemp("stored"),
        {"flash-a": backend("flash", (3, 1)), "disk-a": backend("disk", None)},
        {"s1": 1, "a1": 1, "s2": 2, "d1": 1},
        drawn(
            [
                Use("flash-a#p0", "flash", {"s1": 4, "a1": 2, "s2": 1}, 40),
                Use("disk-a#p0", "disk", {"d1": 1}, 12),
            ],
            days=12,
            seed=11,
        ),
        store_hosts={"s1": "flash-a#p0", "s2": "flash-a#p0"},
    )
    return everything(path)


@pytest.fixture(scope="session")
def lucky(tmp_path_factory: pytest.TempPathFactory) -> Everything:
    """A cache of 5 GiB refuses the image of 6 and keeps the others; one of 6 to 10 GiB is emptied for it."""
    asked = ["i0", "i1", "i2", "i0"] * 12
    rows = [(HOUR_S * n, "create", f"v{n}", image, 8, "flash", "one#p0") for n, image in enumerate(asked)]
    rows += [(HOUR_S * (n + 0.5), "delete", f"v{n}", "", "", "", "") for n in range(len(asked))]
    path = write(
        tmp_path_factory.mktemp("lucky"),
        {"one": backend("flash", (5, 2))},
        {"i0": 1, "i1": 6, "i2": 4},
        table_of(rows),
        tiers={"flash": {"price_gib_month": 1.0}},
    )
    return everything(path, strategies=["none", "cache-only"])


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Everything:
    """One backend, twelve days with as many creates each and hit rates that differ."""
    path = write(
        tmp_path_factory.mktemp("alone"),
        {"one": backend("flash", (50, 40))},
        {"a": 1, "b": 1, "c": 2},
        drawn([Use("one#p0", "flash", {"a": 5, "b": 2, "c": 2}, 90)], days=12, seed=2),
        tiers={"flash": {"price_gib_month": 1.0}},
    )
    return everything(path, strategies=["none", "cache-only"])


@pytest.fixture(scope="session")
def together(tmp_path_factory: pytest.TempPathFactory) -> Everything:
    """Two backends that ask for the same images at the same times, one after another at Glance."""
    events = drawn(
        [
            Use("flash-a#p0", "flash", {"a": 3, "b": 2, "c": 1}, 40),
            Use("disk-a#p0", "disk", {"a": 1, "b": 2, "c": 3}, 40),
        ],
        days=0.12,
        seed=8,
    )
    path = write(
        tmp_path_factory.mktemp("together"),
        {"flash-a": backend("flash", (1, 1)), "disk-a": backend("disk", (4, 3), node="c2")},
        {"a": 1, "b": 1, "c": 2},
        events,
        glance={"streams": 1, "stream_mib_s": 40},
    )
    return everything(path, strategies=["none", "cache-only"])


@pytest.fixture(scope="session")
def roomy(tmp_path_factory: pytest.TempPathFactory) -> Everything:
    """An array that its users nearly fill, by themselves without errors."""
    path = write(
        tmp_path_factory.mktemp("roomy"),
        {"tight": backend("flash", (1, 1), max_volumes=17)},
        {"a": 1, "b": 1, "c": 1},
        drawn([Use("tight#p0", "flash", {"a": 3, "b": 2, "c": 1}, 60, lives_s=60_000)], days=5, seed=5),
    )
    return everything(path, strategies=["none", "cache-only"])
