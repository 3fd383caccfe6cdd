"""Nodes of clusters out of the table of services: those without volumes, and those that take no creates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from cinder import objects
from sqlalchemy.engine import URL

import sim
from sim.inputs.scenario import Scenario
from tests.importers.reading import text
from tests.importers.rows import Rows, writing
from tests.importers.test_accepted import imported

pytestmark = pytest.mark.filterwarnings("ignore")  # Cinder's code and its libraries warn of each other
CLUSTER = "pool@a"
KEPT = "id, host, binary, deleted, disabled, updated_at"


def service(rows: Rows, host: str, hours: float = 48, binary: str = "cinder-volume", **values: Any) -> None:
    """A service whose last heartbeat was then."""
    rows.now(hours)
    made = objects.Service(rows.context, host=host, binary=binary, topic=binary, **values)
    made.create()


def clustered(rows: Rows, hours: float, host: str) -> None:
    rows.from_image(hours, "golden", host=f"{host}#p0", cluster_name=f"{CLUSTER}#p0")


def scenario(url: URL, folder: Path, *more: object) -> tuple[str, Scenario]:
    said = imported(folder / "out", "--db", text(url), *more)
    return said, sim.load(folder / "out" / "scenario.yaml").scenario


def test_a_node_without_volumes_is_a_node(sqlite: URL, tmp_path: Path) -> None:
    with writing(sqlite) as rows:
        clustered(rows, 1, "c1@a")
        rows.from_image(2, "golden", host="c9@b#p0")
        for number in (1, 2, 3):
            service(rows, f"c{number}@a", cluster_name=CLUSTER)
        service(rows, "c9@b")
        service(rows, "c7@empty")
        service(rows, "c8@other", cluster_name="other@other")
        service(rows, "c5", binary="cinder-scheduler")
        service(rows, "c6@a", binary="cinder-backup", cluster_name=CLUSTER)
    said, found = scenario(sqlite, tmp_path)
    assert list(found.backends) == ["a", "b"]
    assert (found.backends["a"].nodes, found.backends["a"].cluster) == (("c1", "c2", "c3"), True)
    assert (found.backends["b"].node, found.backends["b"].cluster) == ("c9", False)
    assert "services of cinder-volume without volumes:" in said and ": c7@empty" in said
    assert "take no creates" not in said


def test_services_that_take_no_creates(sqlite: URL, tmp_path: Path) -> None:
    """Disabled, silent for more than a day, removed; a restart of some minutes is none of these."""
    with writing(sqlite) as rows:
        for number in (1, 2, 3, 4, 5):
            clustered(rows, number, f"c{number}@a")
        service(rows, "c1@a", cluster_name=CLUSTER)
        service(rows, "c2@a", 47.9, cluster_name=CLUSTER)
        service(rows, "c3@a", cluster_name=CLUSTER, disabled=True)
        service(rows, "c4@a", 23.9, cluster_name=CLUSTER)
        service(rows, "c5@a", 48, cluster_name=CLUSTER)
        for one in objects.ServiceList.get_all(rows.context, {"host": "c5@a"}):
            one.destroy()  # `cinder-manage service remove`
        rows.from_image(6, "golden", host="c9@b#p0")
        service(rows, "c9@b", disabled=True)
    said, found = scenario(sqlite, tmp_path)
    assert (found.backends["a"].nodes, found.backends["a"].cluster) == (("c1", "c2"), True)
    assert found.backends["b"].node == "c9"
    assert "c3@a (disabled), c4@a (not heard of for a day), c9@b (disabled)" in said


def test_a_cluster_whose_services_are_all_down(sqlite: URL, tmp_path: Path) -> None:
    """The nodes that made its volumes stay its nodes."""
    with writing(sqlite) as rows:
        for number in (1, 2):
            clustered(rows, number, f"c{number}@a")
            service(rows, f"c{number}@a", cluster_name=CLUSTER, disabled=True)
    _, found = scenario(sqlite, tmp_path)
    assert found.backends["a"].nodes == ("c1", "c2")


@pytest.mark.parametrize("drop", ["table", "columns"])
def test_without_the_table_the_volumes_tell(drop: str, sqlite: URL, tmp_path: Path) -> None:
    """A dump of some tables, and releases before clusters."""
    with writing(sqlite) as rows:
        for number in (1, 2):
            clustered(rows, number, f"c{number}@a")
        service(rows, "c3@a", cluster_name=CLUSTER)
    with sa.create_engine(sqlite).begin() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        connection.exec_driver_sql(f"CREATE TABLE kept AS SELECT {KEPT} FROM services")
        connection.exec_driver_sql("DROP TABLE services")
        if drop == "columns":
            connection.exec_driver_sql("ALTER TABLE kept RENAME TO services")
    _, found = scenario(sqlite, tmp_path)
    assert found.backends["a"].nodes == ("c1", "c2")


def test_a_configuration_names_the_cluster(sqlite: URL, tmp_path: Path) -> None:
    with writing(sqlite) as rows:
        clustered(rows, 1, "c1@a")
        for number in (1, 2):
            service(rows, f"c{number}@a", cluster_name=CLUSTER)
    path = tmp_path / "cinder.conf"
    path.write_text("[DEFAULT]\nhost = c1\ncluster = pool\nenabled_backends = a\n[a]\n")
    _, found = scenario(sqlite, tmp_path, "--conf", path)
    assert (found.backends["a"].nodes, found.backends["a"].cluster) == (("c1", "c2"), True)
