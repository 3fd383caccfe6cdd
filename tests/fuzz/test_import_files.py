"""What `import` reads of files: cinder.conf, listings, notifications in all carriers, Glance's answers.

A file that is accepted makes a scenario now and then, and `validate` accepts what import has written.
"""

from __future__ import annotations

import tempfile
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import requests
import yaml
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from sim.cli.shared import checked
from sim.importers import configuration, glance, image_files, notifications, pool_files, volume_files
from sim.importers.database_url import parse_url
from sim.importers.importing import Given, import_cloud
from sim.inputs.problems import Problems
from tests.fuzz.damage import json_of, texts, trees
from tests.fuzz.frame import Target
from tests.importers import test_listings as listings
from tests.importers import test_notification_files as carried

RARELY = 100  # one accepted file in so many is imported as a whole
WORDS = tuple(
    word.encode()
    for word in (
        *("@", "#", "a@b@c#d#e", "c1@", "@a", "$x", "${x}", "%(x)s", "[DEFAULT]", "[b", "\\ud800", "\\u0000"),
        *(
            "NaN",
            "Infinity",
            "1e999",
            "infinite",
            "unknown",
            "auto",
            "9999-12-31T23:59:59-23:59",
            "\\",
            "image-",
        ),
        *(
            "0001-01-01T00:00:00",
            "| ",
            "+--+",
            "?a=b&a=c",
            "sqlite:///",
            "mysql+x://",
            "%00",
            "%FF",
            "\\N",
            "{",
        ),
    )
)
OUR_OWN = ("what was read", "--", "import", "database URL", "://")


def raised(read: Callable[[Problems], object]) -> bool:
    """Whether a reader reads something. Raises BadInput with its problems."""
    problems = Problems()
    found = read(problems)
    problems.raise_any()
    return found is not None


def accepted(path: Path, **given: Any) -> None:
    """Import some of the accepted files, and validate what is written."""
    if zlib.crc32(path.read_bytes()) % RARELY:
        return
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        import_cloud(out, Given(**given))
        checked(out / "scenario.yaml", None, [])


def _conf(path: Path) -> None:
    if raised(lambda problems: configuration.read([path], problems)):
        accepted(path, conf=[path])


def _pools(path: Path) -> None:
    if raised(lambda problems: pool_files.read(path, problems)):
        accepted(path, pools=path)


def _images(path: Path) -> None:
    if raised(lambda problems: image_files.read(path, problems)):
        accepted(path, images=path)


def _volumes(path: Path) -> None:
    problems = Problems()
    found = volume_files.read(path, "internal", problems)
    problems.raise_any()
    assert found is not None
    found.joined(None, found.volumes["created"].max() if len(path.read_bytes()) % 2 else None, None)
    accepted(path, volumes=path)


def _notifications(path: Path) -> None:
    if raised(lambda problems: notifications.read([path], None, None, None, problems)):
        accepted(path, notifications=[path])


def _password(url: str) -> str | None:
    """What a URL has where passwords are; damage may have made a name of one."""
    try:
        return make_url(url).password
    except (ArgumentError, ValueError):
        return "s3cret"  # then nothing of it is shown


def _url(path: Path) -> None:
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError:
        return
    problems = Problems()
    parse_url(text, problems)
    if _password(text) == "s3cret":
        assert not any("s3cret" in line for line in problems.lines())
    problems.raise_any()


CLOUD = {"auth_type": "admin_token", "auth": {"endpoint": "http://glance/v2", "token": "s3cret"}}
CLOUDS_YAML = yaml.safe_dump({"clouds": {"mine": CLOUD}}).encode()
ASKED: dict[str, bytes] = {}


def _answer(self: Any, request: Any, **_: Any) -> requests.Response:
    """What Glance answers: the bytes of a fuzzed file to a list of images."""
    answer = requests.Response()
    answer.request, answer.url = request, request.url
    listed = "/images?" in request.url
    answer.status_code = 200 if listed else 404
    answer._content = ASKED["images"] if listed and "marker=" not in request.url else b'{"images": []}'
    answer.headers["Content-Type"] = "application/json"
    return answer


def asked(config: Path) -> Any:
    """What Glance's reader returns of the answer in `ASKED`. Raises BadInput."""
    problems = Problems()
    with (
        patch.dict("os.environ", {"OS_CLIENT_CONFIG_FILE": str(config)}),
        patch.object(requests.adapters.HTTPAdapter, "send", _answer),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # the SDK tells of its own future
        found = glance.read("mine", problems)
    problems.raise_any()
    return found


def _glance(path: Path) -> None:
    ASKED["images"] = path.read_bytes()
    config = path.with_name("clouds.yaml")
    if not config.exists():
        config.write_bytes(CLOUDS_YAML)
    asked(config)


def _clouds(path: Path) -> None:
    ASKED["images"] = json_of({"images": [API]})
    asked(path)


CLIENT = {
    "ID": "i", "Name": "deb", "Disk Format": "qcow2", "Container Format": "bare", "Size": 5,
    "Status": "active", "Visibility": "private", "Project": "p",
}  # fmt: skip
API = {
    "id": "i", "name": None, "disk_format": "raw", "container_format": "bare", "size": 5,
    "virtual_size": 7, "status": "active", "owner": "p", "visibility": "public",
    "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:01Z",
    "locations": [{"url": "cinder://store/vol", "metadata": {}}],
}  # fmt: skip
CONF = """\
[DEFAULT]
enabled_backends = lvm-1,ceph
host = c1
cluster = main
allowed_direct_url_schemes = cinder, file
quota_volumes = 100
scheduler_max_attempts = 3
scheduler_default_filters = AvailabilityZoneFilter,CapacityFilter
scheduler_default_weighers = CapacityWeigher,GoodnessWeigher
capacity_weight_multiplier = -1.0
cinder_internal_tenant_project_id = 8e2f
cinder_internal_tenant_user_id = 9d3a
storage_availability_zone = nova
[backend_defaults]
image_volume_cache_enabled = true
image_volume_cache_max_size_gb = 200
[lvm-1]
volume_driver = cinder.volume.drivers.lvm.LVMVolumeDriver
volume_backend_name = disk
backend_host = shared
max_over_subscription_ratio = 10.0
reserved_percentage = 5
lvm_type = thin
filter_function = "volume.size < 10"
[ceph]
volume_driver = cinder.volume.drivers.rbd.RBDDriver
rbd_max_clone_depth = 5
[coordination]
backend_url = file:///var/lib/cinder/lock
[database]
connection = mysql+pymysql://cinder:s3cret@db/cinder?charset=utf8
"""
URLS = [
    b"mysql://cinder:s3cret@host/cinder?charset=utf8mb4&connect_timeout=3",
    b"postgresql+psycopg2://u:s3cret@host:5432/cinder?sslmode=require&host=a",
    b"sqlite:////tmp/x/cinder.sqlite?mode=ro",
]


def _trees(*seeds: Any) -> SearchStrategy[bytes]:
    """Damaged values, and damaged text."""
    return st.one_of(trees(list(seeds)).map(json_of), texts([json_of(seed) for seed in seeds], WORDS))


def _enveloped(messages: Any) -> bytes:
    """Each damaged message in an envelope."""
    whole = messages if isinstance(messages, list) else [messages]
    return b"".join(
        json_of({"oslo.version": "2.0", "oslo.message": json_of(one).decode()}) + b"\n" for one in whole
    )


def _notified() -> SearchStrategy[bytes]:
    everything = [each.encode() for each in (*carried.WHOLE.values(), *carried.EVENTS.values())]
    messages = trees([carried.SENT, [carried.event(one) for one in carried.SENT]])
    return st.one_of(texts(everything, WORDS), messages.map(json_of), messages.map(_enveloped))


def _pools_of() -> SearchStrategy[bytes]:
    table = texts([listings.properties(listings.POOLS).encode()], WORDS)
    return st.one_of(_trees({"pools": listings.POOLS}, listings.POOLS), table)


CINDER_CONF = Target(
    "import cinder.conf", lambda: texts([CONF.encode(), listings.CONF.encode()], WORDS), "cinder.conf", _conf,
    named=("cinder.conf", *OUR_OWN),
)  # fmt: skip
POOLS = Target("import pools", _pools_of, "pools.json", _pools, named=("pools.json", *OUR_OWN))
IMAGES = Target(
    "import images", lambda: _trees([CLIENT], {"images": [API]}), "images.json", _images,
    named=("images.json", *OUR_OWN),
)  # fmt: skip
VOLUMES = Target(
    "import volumes", lambda: _trees({"volumes": listings.VOLUMES}), "volumes.json", _volumes,
    named=("volumes.json", *OUR_OWN),
)  # fmt: skip
NOTIFICATIONS = Target(
    "import notifications", _notified, "notified", _notifications, named=("notified", *OUR_OWN)
)
URL = Target("import database URL", lambda: texts(URLS, WORDS), "url", _url, named=OUR_OWN)
GLANCE = Target("import Glance", lambda: _trees({"images": [API]}), "images", _glance, named=("Glance",))
CLOUDS = Target(
    "import clouds.yaml",
    lambda: texts([CLOUDS_YAML], WORDS),
    "clouds.yaml",
    _clouds,
    named=("Glance", "clouds.yaml"),
)


def test_cinder_conf() -> None:
    CINDER_CONF.check(20, 1)


def test_listings() -> None:
    for target in (POOLS, IMAGES, VOLUMES):
        target.check(25, 1)


def test_notifications() -> None:
    NOTIFICATIONS.check(30, 1)


def test_urls() -> None:
    URL.check(100, 1)


def test_the_seeds_of_glance_are_accepted(tmp_path: Path) -> None:
    """Else nothing behind the first request would be reached."""
    for target, data in ((GLANCE, json_of({"images": [API]})), (CLOUDS, CLOUDS_YAML)):
        path = tmp_path / target.file
        path.write_bytes(data)
        target.read(path)


def test_glance() -> None:
    GLANCE.check(10, 1)
    CLOUDS.check(10, 1)
