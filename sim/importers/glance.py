"""Reads images from Glance, through openstacksdk and its `clouds.yaml`."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd

from sim.importers.notes import Note
from sim.importers.values import instant, text, whole
from sim.inputs.problems import Problems, printable, quoted

PAGE = 1000  # images per request; Glance returns fewer if its `api_limit_max` is lower
WITH_DATA = ("active", "deactivated")  # volumes may be older than their image's deactivation
STATUSES = ("queued", "saving", "killed", "deleted", "pending_delete", "uploading", "importing")
COLUMNS = {
    **dict.fromkeys(("image_id", "name", "status", "disk_format", "container_format"), "str"),
    **dict.fromkeys(("size_bytes", "virtual_size_bytes"), "Int64"),
    **dict.fromkeys(("visibility", "owner"), "str"),
    **dict.fromkeys(("created_at", "updated_at"), "datetime64[us, UTC]"),
    "store_volumes": "object",
    "min_disk": "Int64",
    "virtual_size_unknown": "bool",  # the listing has none, though such listings have them
}
LOOKED_FOR = (
    "the SDK looks for clouds.yaml in the working folder, ~/.config/openstack and "
    "/etc/openstack; OS_CLIENT_CONFIG_FILE overrides this"
)


def read(cloud: str, problems: Problems) -> tuple[pd.DataFrame, list[Note]] | None:
    """Every image with data that the user of `cloud` may see; None if there is a problem.

    A row per image: the columns of `COLUMNS`, missing sizes NA, `store_volumes` the volumes in which a Cinder
    store holds it. These are [] too if Glance does not show locations; a note says so.
    """
    try:
        import openstack
    except ImportError:
        problems.add(
            _source(cloud), "", "openstacksdk is missing: pip install 'cinder-cache-planner[openstack]'"
        )
        return None
    secrets: list[str] = []
    with _silent_sdk() as log:
        try:
            region = openstack.config.get_cloud_region(cloud=cloud)
            secrets += _secrets(region.config.get("auth"))
            with openstack.connection.Connection(config=region) as connection:
                everything = _images(connection)
                images = [image for image in everything if image.status in WITH_DATA]
                places = _Places(connection, images)
        except Exception as error:  # the SDK may fail in any way if the server is not Glance
            _tell(cloud, error, log, secrets, problems)
            return None
    rows = []
    for image in images:
        try:
            rows.append(_row(image, places.urls[image.id]))
        except ValueError as error:
            what = "has a value that cannot be used"
            problems.add(_source(cloud), f"image {quoted(image.id)}", f"{what}: {error}", what)
    if len(rows) < len(images):
        return None
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    return table, _notes(cloud, everything, table, places.unknown)


def _source(cloud: str) -> str:
    return f"Glance of cloud {cloud}"


def _images(connection: Any) -> list[Any]:
    """All images. A plain listing leaves out hidden, community and not yet accepted shared images."""
    query = {"visibility": "all", "member_status": "all", "limit": PAGE}
    images = [
        image for hidden in (False, True) for image in connection.image.images(is_hidden=hidden, **query)
    ]
    return list({image.id: image for image in images}.values())


def _row(image: Any, urls: list[str]) -> tuple[Any, ...]:
    """An image's values for `COLUMNS`. (Glance's introspection writes 0 if it finds no virtual size.)"""
    times = [pd.Timestamp(instant(time)) for time in (image.created_at, image.updated_at)]
    formats = image.disk_format, image.container_format
    texts = map(text, (image.id, image.name, image.status, *formats))
    sizes = whole(image.size), whole(image.virtual_size) or None
    rights = text(image.visibility), text(image.owner)
    return (*texts, *sizes, *rights, *times, store_volumes(urls), whole(image.min_disk), sizes[1] is None)


def store_volumes(urls: Iterable[Any]) -> list[str]:
    """Volumes from locations of a Cinder store: cinder://<volume>, or cinder://<store>/<volume>."""
    volumes = [url.rpartition("/")[2] for url in urls if isinstance(url, str) and url.startswith("cinder://")]
    return list(dict.fromkeys(volumes))


class _Places:
    """The data locations of images: `urls` by id, and `unknown`: images that may have more locations.

    Glance lists locations if `show_multiple_locations` is set. If not, API 2.17 and later return them image
    by image (policy `fetch_image_location`: admins and services), and `show_image_direct_url` lists the
    first.
    """

    def __init__(self, connection: Any, images: list[Any]) -> None:
        self._image_api = connection.image
        self._may_ask = True
        self._asked = 0
        self.unknown: list[Any] = []
        known = any(image.locations is not None for image in images)
        elsewhere = not known and self._no_cinder_store()
        self.urls = {image.id: [] if elsewhere else self._of(image) for image in images}

    def _no_cinder_store(self) -> bool:
        """Whether Glance shows its stores (to admins, if it has several) and none is Cinder's."""
        answer = self._image_api.get("/info/stores/detail")
        if not answer.ok:
            return False
        return all(store.get("type") not in (None, "cinder") for store in answer.json()["stores"])

    def _of(self, image: Any) -> list[str]:
        if image.locations is not None:
            return [location["url"] for location in image.locations]
        if self._may_ask:
            answer = self._image_api.get(f"/images/{image.id}/locations")
            if answer.ok:
                self._asked += 1
                return [location["url"] for location in answer.json()]
            # An image may be deleted by now; but if Glance hides the first image's locations, it hides all.
            self._may_ask = self._asked > 0
        # Only admins see locations of deactivated images, and no create uses such an image.
        if image.status == "active" and (not image.direct_url or len(_stores(image)) > 1):
            self.unknown.append(image)
        return [image.direct_url] if image.direct_url else []


def _stores(image: Any) -> list[str]:
    """Names of the stores that have the image, if Glance has several stores."""
    named = (image.properties or {}).get("stores")
    return [name for name in named.split(",") if name] if isinstance(named, str) else []


# -- notes -------------------------------------------------------------------------------------------


def _notes(cloud: str, everything: list[Any], table: pd.DataFrame, unplaced: list[Any]) -> list[Note]:
    formats = Counter(table["disk_format"])
    listed = ", ".join(f"{count:,} {name}" for name, count in formats.most_common())
    notes = [Note("read", f"{_source(cloud)}: {len(table):,} images" + (f" ({listed})" if listed else ""))]
    other = (image.status for image in everything if image.status not in WITH_DATA)
    without = Counter(status if status in STATUSES else "of an unknown status" for status in other)
    if without:
        listed = ", ".join(f"{count:,} {name}" for name, count in without.most_common())
        notes.append(Note("read", f"Glance's images without data are left out: {listed}"))
    return [*notes, *size_notes(table), *_place_notes(unplaced), *_owner_notes(table)]


def size_notes(table: pd.DataFrame) -> Iterator[Note]:
    unknown = table["virtual_size_bytes"].isna()
    raw = table["disk_format"] == "raw"
    if (unknown & ~raw).any():
        names = table.loc[unknown & ~raw, "name"]
        yield Note(
            "unknown",
            f"Glance has no virtual size of {_some(names)} (since release Victoria it computes it at upload, "
            "except in compressed containers): upload again, or write what 'qemu-img info' says into "
            "virtual_size_bytes of images.csv",
        )


def _place_notes(images: list[Any]) -> Iterator[Note]:
    stores = sorted({name for image in images for name in _stores(image)})
    named = f" (their stores: {', '.join(stores)})" if stores else ""
    if images:
        yield Note(
            "unknown",
            f"Glance does not show all locations of {len(images):,} images{named}: if it has a Cinder "
            "store, set show_multiple_locations in its configuration, or import as an admin (its API 2.17 or "
            "later); without a Cinder store nothing is missing",
        )


def _owner_notes(table: pd.DataFrame) -> Iterator[Note]:
    owners = table.loc[table["visibility"] == "private", "owner"].unique()
    if len(owners) < 2:
        whose = f"only project {owners[0]} has" if len(owners) else "no project has"
        yield Note(
            "unknown",
            f"{whose} private images in Glance's list: only admins see those of other projects",
        )


def _some(names: pd.Series[str]) -> str:
    shown = ", ".join(printable(name) for name in names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5:,} more"


# -- errors ------------------------------------------------------------------------------------------


@contextmanager
def _silent_sdk() -> Iterator[list[logging.LogRecord]]:
    """Collects the SDK's log records instead of printing them: some quote clouds.yaml with passwords."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[assignment,method-assign]
    loggers = [logging.getLogger(name) for name in ("openstack", "keystoneauth")]
    before = [logger.propagate for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
    try:
        yield records
    finally:
        for logger, propagate in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.propagate = propagate


def _tell(
    cloud: str, error: Exception, log: list[logging.LogRecord], secrets: list[str], problems: Problems
) -> None:
    from keystoneauth1.exceptions import ClientException
    from openstack.exceptions import ConfigException, SDKException

    source = _source(cloud)
    skipped = [record.args for record in log if str(record.msg).startswith("Skipping config file")]
    status = getattr(error, "status_code", None) or getattr(error, "http_status", None)
    for path, reason in skipped:  # type: ignore[misc]
        mark = getattr(reason, "problem_mark", None)
        line = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problems.add(path, line, "is not valid YAML")
    if skipped:
        return
    if status == 401:
        problems.add(source, "", "refuses the credentials of clouds.yaml (401)")
    elif status == 403:
        problems.add(source, "", "does not let this user list images (403)")
    elif isinstance(error, ConfigException) and "was not found" in str(error):
        problems.add(source, "", f"is not in clouds.yaml; {LOOKED_FOR}")
    elif isinstance(error, SDKException | ClientException):
        problems.add(source, "", _clean(str(error), secrets))
    else:
        problems.add(source, "", f"clouds.yaml leads to no Glance that can be read ({type(error).__name__})")


def _secrets(auth: Any) -> list[str]:
    """The values of an `auth` section, except names, ids and addresses."""
    shown = ("_name", "_id", "username", "_url", "endpoint")
    values = [str(value) for key, value in (auth or {}).items() if value and not key.endswith(shown)]
    return sorted(values, key=len, reverse=True)


def _clean(text: str, secrets: list[str]) -> str:
    """A message as one line without secrets."""
    for secret in secrets:
        text = text.replace(secret, "***")
    text = re.sub(r"//[^/@\s]*@", "//***@", " ".join(text.split()))
    return printable(text if len(text) <= 400 else f"{text[:400]}…")
