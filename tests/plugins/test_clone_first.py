"""The plugin `clone-first` in the whole of Cinder: it decides as what-if `prefer_clones` and fails safely."""

from __future__ import annotations

import ast
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pandas as pd
import pytest
from cinder.db import api as db  # noqa: TID251 the two calls that every release has there
from oslo_config import cfg
from sqlalchemy.engine import URL

from sim.cinder.engine import run as run_light
from sim.cinder.release import caution
from sim.inputs.scenario import Case
from tests.plugins.drawn_requests import drawn
from tests.plugins.installed import NAMESPACE, SOURCE, WEIGHER, PreferringRun, run_preferring
from tests.whole.build import Builder, image
from tests.whole.process import admin, connected
from tests.whole.reference import run_whole
from tests.whole.test_against_whole import DECISIONS, agree

pytestmark = [
    pytest.mark.whole,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(bool(caution(True)), reason="the what-if follows the newest release"),
]


def spread(folder: Path, prefer: bool = True) -> Case:
    """Creates of two images, apart, for the scheduler to place on two equal pools."""
    b = Builder(image("i0"), image("i1"), what_if={"prefer_clones": prefer})
    for name in "ab":
        b.backend(name, pools={"p0": {"capacity_gib": 1000}}, node=f"node-{name}")
    for number in range(8):
        b.create(100.0 * number, f"i{number // 4}", host="")
    return b.case(folder)


def decisions(requests: pd.DataFrame) -> list[tuple[str, ...]]:
    return list(requests[DECISIONS].astype(str).itertuples(index=False, name=None))


# The package


def test_it_is_installed_as_cinder_finds_weighers(clone_first: Any) -> None:
    (found,) = entry_points(group=NAMESPACE, name=WEIGHER)
    assert found.load() is clone_first.PreferClonesWeigher
    assert found.dist is not None and not found.dist.requires
    (options,) = entry_points(group="oslo.config.opts", name="clone_first")
    assert [option.name for _, group in options.load()() for option in group] == [
        *("prefer_clones_multiplier", "prefer_clones_image_cache_time", "prefer_clones_retry_interval"),
        *("prefer_clones_drivers", "prefer_clones_across_pools"),
    ]


def test_neither_knows_the_other() -> None:
    """The plugin imports nothing of the simulator, which imports nothing of the plugin."""
    for path in SOURCE.glob("*.py"):
        assert not any(name.split(".")[0] == "sim" for name in imported(path))
    for path in (SOURCE.parents[1] / "sim").rglob("*.py"):
        assert "clone_first" not in imported(path)


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


# What it decides


@pytest.mark.parametrize("seed", range(3))
def test_it_decides_as_the_what_if(seed: int, clone_first: Any, tmp_path: Path) -> None:
    """More of them: `python -m tests.plugins.proved`."""
    case, strategy = drawn(seed, tmp_path)
    agree(case, strategy, run_preferring(case, strategy), fast=False)
    assert not clone_first.PreferClonesWeigher.failing


def test_it_decides_alike_on_every_database(clone_first: Any, empty_database: URL, tmp_path: Path) -> None:
    whole_seconds = empty_database.get_backend_name() == "mysql"
    case, strategy = drawn(9, tmp_path, whole_seconds)
    whole = run_preferring(case, strategy, empty_database.render_as_string(hide_password=False))
    agree(case, strategy, whole, fast=False, used_s=1.0 if whole_seconds else 5e-3)
    assert not clone_first.PreferClonesWeigher.failing


def test_without_the_option_all_is_as_before(clone_first: Any, tmp_path: Path) -> None:
    """The package may stay installed."""
    case, plain = spread(tmp_path / "a"), spread(tmp_path / "b", prefer=False)
    before, preferring = run_whole(plain, "cache-only"), run_preferring(case, "cache-only")
    after = run_whole(plain, "cache-only")
    assert sorted(preferring.requests.source) == ["cache"] * 6 + ["download"] * 2
    assert sorted(before.requests.source) == ["cache"] * 4 + ["download"] * 4
    assert decisions(after.requests) == decisions(before.requests)
    assert decisions(before.requests) == decisions(run_light(plain, "cache-only").requests)


# What it asks


def test_one_query_for_a_request_and_one_question_for_an_image(clone_first: Any, tmp_path: Path) -> None:
    class Kept(PreferringRun):
        def options(self) -> dict[tuple[str | None, str], Any]:
            return super().options() | {(None, "prefer_clones_image_cache_time"): 3600}

    with (
        mock.patch.object(clone_first, "_image", wraps=clone_first._image) as asks,
        mock.patch.object(db, "image_volume_cache_get_all", wraps=db.image_volume_cache_get_all) as queries,
    ):
        whole = Kept(spread(tmp_path), "cache-only").execute()
    of_weigher = [call for call in queries.call_args_list if "image_id" in call.kwargs]
    assert [list(call.kwargs) for call in of_weigher] == [["image_id"]] * 8
    assert asks.call_count == 2  # one for each image
    assert list(whole.requests.source).count("cache") == 6


def test_an_answer_of_glance_is_kept_for_the_time_of_the_option(clone_first: Any) -> None:
    asked, now = [], [100.0]
    cfg.CONF.set_override("prefer_clones_image_cache_time", 10)
    try:
        with (
            mock.patch.object(clone_first, "_image", lambda *given: asked.append(given)),
            mock.patch.object(clone_first, "time", SimpleNamespace(monotonic=lambda: now[0])),
        ):
            images = clone_first.Images()
            for now[0] in (100.0, 109.9, 110.0):
                images.get(None, "image", "alice")
            assert len(asked) == 2
            images.get(None, "image", "bob")  # who may see less of it
            assert len(asked) == 3
    finally:
        cfg.CONF.clear_override("prefer_clones_image_cache_time")


# What goes wrong


@pytest.mark.parametrize("broken", ["database", "glance"])
def test_a_failure_leaves_the_decisions_to_the_others(broken: str, clone_first: Any, tmp_path: Path) -> None:
    """With one warning, and not one for each request."""

    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("gone")

    warned: list[str] = []
    target, name = (
        (clone_first.db, "image_volume_cache_get_all") if broken == "database" else (clone_first, "_image")
    )
    with (
        mock.patch.object(target, name, fail),
        mock.patch.object(clone_first.LOG, "warning", lambda text, values: warned.append(text % values)),
    ):
        failing = run_preferring(spread(tmp_path / "a"), "cache-only")
    plain = run_whole(spread(tmp_path / "b", prefer=False), "cache-only")
    assert decisions(failing.requests) == decisions(plain.requests)
    (line,) = warned
    assert "gone" in line and "prefers no pool" in line


def weigh(module: Any, image_id: str = "image") -> list[float]:
    pools = [SimpleNamespace(obj=SimpleNamespace(host=f"n@{name}#p", cluster_name=None)) for name in "ab"]
    spec = {"image_id": image_id, "volume_properties": {"project_id": "p", "encryption_key_id": None}}
    return list(module.PreferClonesWeigher().weigh_objects(pools, {"context": admin(), "request_spec": spec}))


def test_after_a_failure_it_asks_nothing_for_a_while(clone_first: Any) -> None:
    asked, now = [], [100.0]

    def fail(*_: Any) -> Any:
        asked.append(now[0])
        raise RuntimeError("gone")

    cfg.CONF.set_override("prefer_clones_retry_interval", 60)
    try:
        with (
            mock.patch.object(clone_first, "_image", fail),
            mock.patch.object(clone_first, "time", SimpleNamespace(monotonic=lambda: now[0])),
        ):
            for now[0] in (100.0, 101.0, 159.9, 160.0):
                assert weigh(clone_first) == [0.0, 0.0]
        assert asked == [100.0, 160.0]
    finally:
        cfg.CONF.clear_override("prefer_clones_retry_interval")


def test_the_look_up_uses_the_index_of_images(clone_first: Any, empty_database: URL) -> None:
    """One row of the index for each pool that holds the image, however many entries there are."""
    from sqlalchemy import create_engine, inspect

    with connected(empty_database.render_as_string(hide_password=False)):
        engine = create_engine(empty_database)
        indexes = inspect(engine).get_indexes("image_volume_cache_entries")
        engine.dispose()
    assert ["image_id"] in [index["column_names"] for index in indexes]
