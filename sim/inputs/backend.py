"""The keys of what volumes lie on: tiers, backends and their pools."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from sim.inputs.spec import (
    Capacity,
    Count,
    HostPart,
    Limit,
    Name,
    Names,
    Price,
    Rate,
    Ratio,
    Seconds,
    Spec,
    listed,
    some,
)

DEFAULT_NODE = "c1"  # runs the cinder-volume of a backend that names no node
NOVA = "nova"  # the default of Cinder's `storage_availability_zone`
Zone = Annotated[str, Field(min_length=1, max_length=255)]  # as long as Cinder's database keeps it


class Tier(Spec):
    """A volume type, and the price of its image-volumes, in any currency."""

    price_gib_month: Price = 0.0
    """Price per month of one GiB of physical space."""
    price_volume_month: Price = 0.0
    """Price per month of one volume, whatever its size."""
    multiattach: bool = True
    """Whether Glance may attach an image-volume of the Cinder store several times at once to read it (the
    type's extra spec `multiattach`). Cinder's default is false: then one reads it and the others wait, 24 s
    at most."""
    image_service_store_id: Name | None = None
    """The store, one of `stores`, to which Glance gives the data of an upload of a volume of this type (the
    type's extra spec `image_service:store_id`); null: Glance's default store."""

    @property
    def extra_specs(self) -> dict[str, str]:
        """The extra specs of the volume type that Cinder's code looks at in an upload."""
        named = self.image_service_store_id
        return {} if named is None else {"image_service:store_id": named}


class Pool(Spec):
    """Limits of a pool."""

    capacity_gib: Capacity | None = None
    """Physical space; null: unlimited."""
    max_volumes: Count | None = None
    """Largest number of volumes, of users and image-volumes together; null: unlimited."""


class Backend(Spec):
    """An array with its pools, times, rates and limits. Units are in the names.

    A step whose rate is null takes no time. A limit of null means no limit.
    """

    volume_types: Annotated[
        Names,
        BeforeValidator(partial(listed, None)),
        AfterValidator(some),
        Field(alias="volume_type"),
    ]
    """The tier that the array serves, or a list of tiers. The first pays for image-volumes of the store."""
    pools: Annotated[dict[HostPart, Pool], AfterValidator(some)]
    """Pools by name; the host of a pool is `backend#pool`."""
    node: Name | None = None
    """The node that runs its cinder-volume; null: `c1`. With `lock_scope: node`, each node has its own locks.
    Give `node` or `nodes`, not both."""
    nodes: Annotated[Names, AfterValidator(some)] | None = None
    """The nodes, if several run its cinder-volume. They take its creates in turn, the first one first."""
    cluster: bool = False
    """Whether its nodes are one active/active cluster (Cinder's option `cluster`). False: they share a
    `backend_host`."""
    clone_across_pools: bool = False
    """Whether the driver clones a volume of one pool to another pool (its capability of that name). Cinder
    then looks for image-volumes on all pools of the cloud."""
    availability_zone: Zone = NOVA
    """Availability zone of its cinder-volume. A create goes only to pools in the zone that it asks for."""
    max_volumes: Count | None = None
    """Largest number of volumes on the whole array, of users and image-volumes together."""
    create_s: Seconds = 0.0
    """Time to create an empty volume."""
    clone_s: Seconds = 0.0
    """Time to clone a volume."""
    clone_mib_s: Rate | None = None
    """Rate of a full copy: a clone then takes `clone_s` and the copy. Null: clones are copy-on-write."""
    clone_copied_by: Literal["array", "node"] = "array"
    """Who makes full copies. `array`: the array by itself. `node`: a cinder-volume node reads and writes
    (Cinder's `volume_utils.copy_volume`), on one of the backend's `write_streams`."""
    delete_s: Seconds = 0.0
    """Time to delete a volume; its space and its place are free at the end."""
    extend_s: Seconds = 0.0
    """Time to extend a volume."""
    write_mib_s: Rate | None = None
    """Rate of writing the virtual size of an image to a volume."""
    convert_mib_s: Rate | None = None
    """Rate of converting the virtual size of an image that is not raw (its `allocated_bytes`, if they are
    given)."""
    write_zeroes: Literal["skipped", "written"] = "skipped"
    """What becomes of the holes of an image with `allocated_bytes`. `skipped`: they are not written, and a
    thin volume has no space for them. `written`: zeros are written, as to a device that cannot be told to
    zero itself."""
    read_mib_s: Rate | None = None
    """Rate at which an upload reads a volume."""
    write_streams: Count | None = None
    """Conversions and writes at the same time, and full copies that a node makes; null: no limit."""
    array_mib_s: Rate | None = None
    """Rate that all writes and full copies on the array share; null: no limit. A write or a copy without a
    rate of its own then takes what it gets."""
    clone_lock: Literal["none", "source"] = "none"
    """`source`: clones of one volume are made one after the other, as some drivers lock their source. `none`:
    all at once."""
    clone_streams: Count | None = None
    """Clones that the array makes at the same time, full copies too, first come, first served; null: no
    limit."""
    max_clones_per_volume: Count | None = None
    """Largest number of live copy-on-write clones of one volume."""
    clone_family_limit: Count | None = None
    """Largest number of live volumes in one family: a volume and all copy-on-write clones that descend from
    it, users', the cache's, the store's, and snapshots that are volumes. A clone above it ends with
    `SnapshotLimitReached`, as at the limit of one volume."""
    delete_with_clones: Literal["allowed", "busy"] = "allowed"
    """`allowed`: the array deletes a volume that has clones. `busy`: it refuses (`VolumeIsBusy`)."""
    snapshots: Literal["volumes", "apart"] = "volumes"
    """How the array keeps users' snapshots. `volumes`: each is a copy-on-write clone of its volume, which
    takes a place and the volume's size, and counts as a clone. `apart`: a snapshot takes nothing."""
    driver_clones_raw: bool = False
    """Whether the driver itself clones raw images that Glance keeps on the same storage (as RBD does)."""
    imports_raw_file: bool = False
    """Whether the driver converts each image that it downloads to a raw file in the node's
    `image_conversion_dir`, and imports that file (as RBD does)."""
    thin: bool = True
    """Whether a volume takes only the space of its data, shared with its clones. False: it takes its full
    size."""
    dedupe: bool = False
    """Whether a thin pool holds each version of an image only once."""
    max_over_subscription_ratio: Ratio = 20.0
    """Cinder's option; a thin pool provisions at most `capacity_gib` times this value."""
    reserved_percentage: Annotated[int, Field(ge=0, le=100)] = 0
    """Cinder's option; the share of a pool's space that the scheduler leaves free."""
    filter_function: Name | None = None
    """Cinder's option. `DriverFilter` evaluates it for each pool. A pool passes if it is true; a function
    with an error is false. Null: the pool passes."""
    goodness_function: Name | None = None
    """Cinder's option. `GoodnessWeigher` evaluates it for each pool, to a number from 0 to 100. Null, an
    error and any other number: 0."""
    image_volume_cache_enabled: bool = True
    """Whether the backend has a cache, under strategies with a cache."""
    image_volume_cache_max_size_gb: Limit = 0
    """Limit of the cache for each pool, in GiB; 0: unlimited. The cache refuses images above this size."""
    image_volume_cache_max_count: Limit = 0
    """Limit of the cache for each pool, in entries; 0: unlimited."""

    @model_validator(mode="after")
    def _one_way_to_name_nodes(self) -> Self:
        if self.node is not None and self.nodes is not None:
            raise ValueError("either node or nodes, not both")
        return self

    @property
    def node_names(self) -> tuple[str, ...]:
        """The nodes that run its cinder-volume, the first one first."""
        return self.nodes or (self.node or DEFAULT_NODE,)

    @property
    def copies_apart(self) -> bool:
        """Whether a full copy is no part of a clone's seconds: it shares a rate, or takes a write stream."""
        return self.clone_mib_s is not None and (
            self.array_mib_s is not None or self.clone_copied_by == "node"
        )

    @property
    def queues(self) -> bool:
        """Whether its clones wait for anything."""
        limited = self.clone_lock != "none" or self.clone_streams is not None
        return limited or self.clone_copied_by == "node"
