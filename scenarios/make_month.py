"""Writes month/images.csv: `python -m scenarios.make_month`.

month/releases.csv says when 389 versions of 47 cloud images were first offered: the history of
osism/openstack-image-manager (Apache-2.0). sim/data/cloud_images.csv has sizes of real cloud images. `SIZES`
says which of them each line has; those of `ASSUMED` have none of their own there.
"""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

from sim.inputs.images import Image, write_images

FOLDER = Path(__file__).parent
CATALOGUE = FOLDER.parent / "sim" / "data" / "cloud_images.csv"
SIZES = {
    "AlmaLinux 8": "AlmaLinux-8-GenericCloud",
    "AlmaLinux 9": "AlmaLinux-9-GenericCloud",
    "CentOS 7": "CentOS-7-x86_64-GenericCloud",
    "CentOS 8": "centos-8.2",
    "CentOS Stream 8": "centosstream-8",
    "CentOS Stream 9": "CentOS-Stream-GenericCloud-9",
    "Cirros": "cirros-0.6.2",
    "Debian 10": "debian-10",
    "Debian 11": "debian-11",
    "Debian 12": "debian-12",
    "Debian 13": "debian-13-generic",
    "Fedora 36": "fedora-36",
    "Fedora 37": "fedora-37",
    "Rocky 8": "Rocky-8-GenericCloud",
    "Rocky 9": "Rocky-9-GenericCloud",
    "Ubuntu 16.04": "ubuntu xenial",
    "Ubuntu 18.04": "ubuntu-18.04-server",
    "Ubuntu 20.04": "ubuntu-20.04-server",
    "Ubuntu 22.04": "ubuntu-22.04-server",
    "Ubuntu 24.04": "ubuntu-24.04-server",
}
ASSUMED = {
    "CentOS Stream": "centosstream-8",
    "Clear Linux": "Fedora-Cloud-Base-Generic-43",
    "Debian 8": "debian-10",
    "Debian 9": "debian-10",
    "Fedora 34": "fedora-36",
    "Fedora 35": "fedora-36",
    "Fedora CoreOS": "Fedora-Cloud-Base-Generic-43",
    "Flatcar Container Linux": "Fedora-Cloud-Base-Generic-43",
    "Garden Linux": "debian-13-generic",
    "Kubernetes CAPI": "ubuntu-22.04-server",
    "OPNsense": "freebsd-11.1",
    "OSISM CI": "ubuntu-22.04-server",
    "OpenStack Octavia Amphora": "ubuntu-22.04-server",
    "OpenStack Octavia Amphora Haproxy": "ubuntu-20.04-server",
    "RancherOS": "cirros-0.6.2",
    "Talos Linux": "cirros-0.6.2",
    "Ubuntu 14.04": "ubuntu xenial",
    "openSUSE": "Rocky-9-GenericCloud",
}


def main(folder: Path = FOLDER / "month") -> None:
    """Write the image list: lines with more versions first, which the generator takes for more popular."""
    with (FOLDER / "month" / "releases.csv").open(encoding="utf-8") as file:
        releases = list(csv.DictReader(file))
    with CATALOGUE.open(encoding="utf-8") as file:
        catalogue = list(csv.DictReader(file))
    count = Counter(release["name"] for release in releases)
    images = [
        image_of(release, catalogue)
        for release in sorted(releases, key=lambda each: (-count[each["name"]], each["name"]))
    ]
    write_images(images, folder / "images.csv")


def image_of(release: dict[str, str], catalogue: list[dict[str, str]]) -> Image:
    """A version of a line, in the format in which it is published."""
    name, disk_format = release["name"], release["format"]
    known = SIZES | ASSUMED
    begin = max((of for of in known if name.startswith(of)), key=len)  # a minimal image is like the full one
    (sizes,) = (row for row in catalogue if row["image"].startswith(known[begin]))
    virtual = int(sizes["virtual_bytes"])
    return Image(
        image_id=f"{name} {release['version']}".lower().replace(" ", "-"),
        name=name,
        disk_format=disk_format,
        container_format="bare",
        size_bytes=virtual if disk_format == "raw" else int(sizes["download_bytes"]),
        virtual_size_bytes=virtual,
        released=release["first_seen"],  # type: ignore[arg-type]  # a text is parsed
    )


if __name__ == "__main__":
    main()
