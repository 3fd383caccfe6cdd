"""The texts of engine `fast`'s errors: those of Cinder 27 to 29 (cinder/exception.py)."""

from __future__ import annotations

import pandas as pd

from sim.fast import state
from sim.fast.build import Names
from sim.fast.state import Array
from sim.inputs.scenario import Case, Image
from sim.model.arrays import content_of, refusal_text
from sim.model.repeats import repeats
from sim.model.rules import CLONE_LIMIT, NO_SPACE

BACKEND = "Bad or unexpected response from the storage volume backend API: "
NO_POOL = "no pool of the volume type passes the scheduler's filters"


@repeats("cinder.exception", "NoValidBackend", "InvalidAvailabilityZone")
def error_texts(case: Case, names: Names, rows: Array, asked: pd.DataFrame) -> list[str]:
    """The `error` column of creates (rows of `state.ROWS`, and what was asked for) that ended in an error."""
    columns = (
        *(rows[field].tolist() for field in ("error", "error_pool", "error_gib", "unplaced")),
        *(asked[name].tolist() for name in ("image_id", "volume_id", "size_gib", "availability_zone")),
    )
    texts = []
    for error, pool, gib, unplaced, image_id, volume_id, size_gib, zone in zip(*columns, strict=True):
        text = ""
        if error == state.BROKEN:
            texts.append("ZeroDivisionError: float division by zero")
            continue
        if error == state.NO_MAXIMUM:
            texts.append(_no_maximum())
            continue
        if error == state.INVALID_ZONE:
            invalid = zone or case.scenario.cinder.default_availability_zone
            texts.append(f"InvalidAvailabilityZone: Availability zone '{invalid}' is invalid.")
            continue
        if error:
            host = names.hosts[pool]
            text = _text(case, error, host, gib, case.images.get(image_id), volume_id, size_gib)
        texts.append(f"NoValidBackend: {text or NO_POOL}" if unplaced else text)
    return texts


def _no_maximum() -> str:
    """Python's own text for the largest of nothing, which differs between its versions."""
    try:
        return str(max(()))
    except ValueError as error:
        return f"ValueError: {error}"


@repeats("cinder.exception", "ImageNotFound", "ImageUnacceptable", "InvalidInput")
@repeats("cinder.volume.volume_utils", "check_image_metadata")
@repeats("cinder.image.image_utils", "check_virtual_size")
def _of_image(error: int, image: Image, size_gib: int) -> str:
    """The text if the API refuses the image, or if an attempt finds it gone; else ''."""
    if error == state.IMAGE_GONE:
        return f"ImageNotFound: Image {image.image_id} could not be found."
    if error == state.NOT_ACTIVE:
        return f"InvalidInput: Invalid input received: Image {image.image_id} is not active."
    if error == state.IMAGE_TOO_LARGE:
        return (
            f"InvalidInput: Invalid input received: Size of specified image {image.size_gib}GB"
            f" is larger than volume size {size_gib}GB."
        )
    if error == state.VIRTUAL_TOO_LARGE:
        return (
            f"ImageUnacceptable: Image {image.image_id} is unacceptable: Image virtual size is"
            f" {image.virtual_gib}GB and doesn't fit in a volume of size {size_gib}GB."
        )
    return ""


@repeats("cinder.exception", "ImageCopyFailure", "SnapshotLimitReached", "VolumeBackendAPIException")
@repeats("cinder.volume.volume_utils", "copy_image_to_volume")
def _text(
    case: Case, error: int, host: str, gib: float, image: Image | None, volume_id: str, size_gib: int
) -> str:
    """The text of the last attempt's error, or of the API's. `image`: None if the create has no image."""
    if image is not None and (text := _of_image(error, image, size_gib)):
        return text
    spec = case.scenario.backend_at(host)
    if error == CLONE_LIMIT:
        return (
            "SnapshotLimitReached: Exceeded the configured limit of"
            f" {spec.max_clones_per_volume} snapshots per volume."
        )
    copies, why = divmod(error, state.COPY)
    lacking = content_of(image, 0).gib if image is not None and why == NO_SPACE else int(gib)
    text = f"{BACKEND}{refusal_text(why, host, spec, volume_id, lacking)}"
    if copies:
        return f"ImageCopyFailure: Failed to copy image to volume: {text}"
    return f"VolumeBackendAPIException: {text}"
