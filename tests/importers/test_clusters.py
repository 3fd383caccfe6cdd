"""Three clustered nodes, run by the whole of Cinder into a database, are one backend of an import."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

import sim
from tests.importers.test_accepted import imported
from tests.whole.build import Builder, image
from tests.whole.reference import Run

pytestmark = pytest.mark.filterwarnings("ignore")  # Cinder's code and its libraries warn of each other


def test_three_clustered_nodes_are_one_backend(tmp_path: Path) -> None:
    b = Builder(image("i0", 1), image("i1", 2, "qcow2"), cinder={"lock_scope": "node"})
    b.backend("a", pools={"p0": {}, "p1": {}}, nodes=["c1", "c2", "c3"], cluster=True)
    b.backend("b", node="c4")
    for number in range(12):
        host = ("a#p0", "a#p1", "b#p0")[number % 3]
        b.create(100.0 * number, f"i{number % 2}", host, 5)
    path = tmp_path / "cinder.sqlite"
    Run(b.case(tmp_path), "cache-only", f"sqlite:///{path}").execute()
    with sqlite3.connect(path) as connection:
        hosts = {host for (host,) in connection.execute("SELECT host FROM volumes")}
        cached = connection.execute("SELECT host, cluster_name FROM image_volume_cache_entries").fetchall()
    connection.close()
    assert {host.partition("@")[0] for host in hosts if "@a#" in host} == {"c1", "c2", "c3"}
    assert any(cluster for _, cluster in cached)
    imported(tmp_path / "out", "--db", f"sqlite:///{path}")
    scenario = sim.load(tmp_path / "out" / "scenario.yaml").scenario
    assert list(scenario.backends) == ["a", "b"]
    assert (scenario.backends["a"].nodes, scenario.backends["a"].cluster) == (("c1", "c2", "c3"), True)
    assert (scenario.backends["b"].node, scenario.backends["b"].cluster) == ("c4", False)
    assert list(scenario.pools()) == ["a#p0", "a#p1", "b#p0"]
