"""The texts of engine `fast`'s errors: those of Cinder 27 to 29 (cinder/exception.py)."""

from __future__ import annotations

import pandas as pd

from sim.fast import state
from sim.fast.names import Names
from sim.fast.state import Array
from sim.inputs.quotas import PER_VOLUME
from sim.inputs.scenario import Case, Image
from sim.model.arrays import content_of, refusal_text
from sim.model.records import ASKED
from sim.model.repeats import repeats
from sim.model.rules import CLONE_LIMIT, FAMILY_LIMIT, NO_SPACE

BACKEND = "Bad or unexpected response from the storage volume backend API: "
DIRECTORY = "/var/lib/cinder/conversion"  # Cinder's default
NO_POOL = "no pool of the volume type passes the scheduler's filters"


@repeats("cinder.exception", "NoValidBackend", "InvalidAvailabilityZone")
def error_texts(case: Case, names: Names, rows: Array, asked: pd.DataFrame) -> list[str]:
    """The `error` column of creates (rows of `state.ROWS`, and what was asked for) that ended in an error."""
    columns = (
        *(rows[field].tolist() for field in ("error", "error_pool", "error_gib", "unplaced")),
        *(asked[name].tolist() for name in (*ASKED[:4], "availability_zone")),
    )
    texts = []
    for error, pool, gib, unplaced, volume_id, image_id, tier, size_gib, zone in zip(*columns, strict=True):
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
        if error in state.OVER_ANY:
            texts.append(_of_quota(error, tier, pool, int(gib), size_gib))
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


def over_quota(error: int, tier: str) -> tuple[str, str]:
    """The name of the exception if a quota refuses a volume of a type, and the quota's.

    Cinder asks whether the quota's name has "gigabytes" in it, of whichever type.
    """
    if error == state.OVER_SIZE:
        return "VolumeSizeExceedsLimit", PER_VOLUME
    resource = "gigabytes" if error in (state.OVER_GIGABYTES, state.OVER_GIGABYTES_TYPE) else "volumes"
    name = f"{resource}_{tier}" if error in (state.OVER_GIGABYTES_TYPE, state.OVER_VOLUMES_TYPE) else resource
    return "VolumeSizeExceedsAvailableQuota" if "gigabytes" in name else "VolumeLimitExceeded", name


@repeats("cinder.quota_utils", "process_reserve_over_quota")
@repeats(
    "cinder.exception", "VolumeLimitExceeded", "VolumeSizeExceedsAvailableQuota", "VolumeSizeExceedsLimit"
)
def _of_quota(error: int, tier: str, limit: int, used: int, size_gib: int) -> str:
    """The text if a quota refuses a volume."""
    kind, name = over_quota(error, tier)
    if kind == "VolumeSizeExceedsLimit":
        return f"{kind}: Requested volume size {size_gib}G is larger than maximum allowed limit {limit}G."
    if kind == "VolumeLimitExceeded":
        return f"{kind}: Maximum number of volumes allowed ({limit}) exceeded for quota '{name}'."
    return (
        f"{kind}: Requested volume or snapshot exceeds allowed {name} quota. Requested {size_gib}G,"
        f" quota is {limit}G and {used}G has been consumed."
    )


@repeats(
    "cinder.exception",
    "ImageConversionNotAllowed",
    "ImageNotFound",
    "ImageTooBig",
    "ImageUnacceptable",
    "InvalidInput",
)
@repeats("cinder.image.image_utils", "check_image_conversion_disable")
@repeats("cinder.volume.volume_utils", "check_image_metadata")
@repeats("cinder.image.image_utils", "check_available_space", "check_virtual_size")
def _of_image(error: int, image: Image, size_gib: int, free_bytes: float) -> str:
    """The text if it is because of the image; else ''. `free_bytes`: in the node's conversion directory."""
    if error == state.IMAGE_GONE:
        return f"ImageNotFound: Image {image.image_id} could not be found."
    if error == state.NOT_ACTIVE:
        return f"InvalidInput: Invalid input received: Image {image.image_id} is not active."
    if error == state.IMAGE_TOO_LARGE:
        return (
            f"InvalidInput: Invalid input received: Size of specified image {image.size_gib}GB"
            f" is larger than volume size {size_gib}GB."
        )
    if error == state.BELOW_MINIMUM:
        return (
            f"InvalidInput: Invalid input received: Volume size {size_gib}GB cannot be smaller than the image"
            f" minDisk size {image.min_disk}GB."
        )
    if error == state.NO_CONVERSION:
        return (
            f"ImageConversionNotAllowed: Image Conversion disallowed for image {image.image_id}: Image"
            " conversion is disabled. The volume type you have requested requires that the image it is being"
            " created from be in 'raw' format, but the image you are using has the disk_format property"
            f" '{image.disk_format}'. You must use an image with the disk_format property 'raw' to create a"
            " volume of this type."
        )
    if error == state.NO_FREE_SPACE:
        return (
            f"ImageTooBig: Image {image.image_id} size exceeded available disk space: There is no space on"
            f" {DIRECTORY} to convert image. Requested: {image.size_bytes}, available: {int(free_bytes)}."
        )
    if error == state.DISK_FULL_SHOWN:
        return (
            f"ImageTooBig: Image {image.image_id} size exceeded available disk space: No space left in"
            f" image_conversion_dir path ({DIRECTORY}) while fetching image {image.image_id}."
        )
    if error == state.VIRTUAL_TOO_LARGE:
        return (
            f"ImageUnacceptable: Image {image.image_id} is unacceptable: Image virtual size is"
            f" {image.virtual_gib}GB and doesn't fit in a volume of size {size_gib}GB."
        )
    return ""


@repeats(
    "cinder.exception",
    "GlanceMetadataNotFound",
    "ImageCopyFailure",
    "SnapshotLimitReached",
    "VolumeBackendAPIException",
)
@repeats("cinder.volume.volume_utils", "copy_image_to_volume")
def _text(
    case: Case, error: int, host: str, gib: float, image: Image | None, volume_id: str, size_gib: int
) -> str:
    """The text of the last attempt's error, or of the API's. `image`: None if the create has no image."""
    if image is not None and (text := _of_image(error, image, size_gib, gib)):
        return text
    if error in (state.NOT_ATTACHED, state.DISK_FULL):  # Cinder has no metadata to delete yet: this hides why
        return f"GlanceMetadataNotFound: Glance metadata for volume/snapshot {volume_id} cannot be found."
    if error == state.NOT_ATTACHED_SHOWN:
        return "HTTPInternalServerError: HTTP 500 Internal Server Error"
    if error == state.RAW_FULL:
        return "ImageCopyFailure: Failed to copy image to volume: No space left on device"
    spec = case.scenario.backend_at(host)
    limits = {CLONE_LIMIT: spec.max_clones_per_volume, FAMILY_LIMIT: spec.clone_family_limit}
    if error in limits:
        return f"SnapshotLimitReached: Exceeded the configured limit of {limits[error]} snapshots per volume."
    copies, why = divmod(error, state.COPY)
    lacking = content_of(image, 0, spec).gib if image is not None and why == NO_SPACE else int(gib)
    text = f"{BACKEND}{refusal_text(why, host, spec, volume_id, lacking)}"
    if copies:
        return f"ImageCopyFailure: Failed to copy image to volume: {text}"
    return f"VolumeBackendAPIException: {text}"
