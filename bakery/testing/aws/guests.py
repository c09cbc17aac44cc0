"""Plays the machines of a moto server's EC2: watches the API, and does to real guests what was done to instances.

A running instance with an address on loopback gets a guest there, with its key pair and its user data; stopping and
ending does so to the guest; a snapshot of its volume keeps its disk, and instances of an image on that snapshot
boot it.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from bakery.drivers.user_data import text_of
from bakery.testing.aws import tinyinit
from bakery.testing.aws.guest import Guest

LOOPBACK = ip_network("127.0.0.0/8")
EVERY = 0.2
MOST_STARTS = 20
"""Reboots and restarts of one instance in a test; more is a guest that dies at once."""


class Guests:
    """The guests of one region.

    Args:
        client: a boto3 EC2 client of the server itself.
        ebs: a boto3 client of the EBS direct APIs, by which snapshots may have been written.
        base: the disk of every image that was not made here.
        folder: where disks and consoles are.
        tiny: the base is a guest without cloud-init, for which `tinyinit` stands in.
    """

    def __init__(self, client: Any, ebs: Any, base: Path, folder: Path, *, tiny: bool = True) -> None:
        self._client, self._ebs, self._base, self._folder, self._tiny = client, ebs, base, folder, tiny
        self._guests: dict[str, Guest] = {}
        self._volumes: dict[str, str] = {}
        self._saved: dict[str, Path] = {}
        self._starts: dict[str, int] = {}
        self._broken: set[str] = set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._play, name="guests", daemon=True)
        self.errors: list[Exception] = []

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching and cut off every guest."""
        self._end.set()
        self._thread.join()
        for guest in self._guests.values():
            guest.kill()

    def wait_saved(self, snapshot: str) -> Path:
        """Return the disk that a snapshot keeps, if it is there.

        Raises:
            KeyError: it is not, or not yet.
        """
        return self._saved[snapshot]

    def _play(self) -> None:
        while not self._end.wait(EVERY):
            try:
                self._look()
            except Exception as error:  # the server may be ending; the test sees what was collected
                self.errors.append(error)

    def _look(self) -> None:
        """First what was stopped, so that a snapshot is of a disk at rest; then snapshots; then what was started."""
        machines = {machine["InstanceId"]: machine for machine in self._machines()}
        for name, machine in machines.items():
            for disk in machine.get("BlockDeviceMappings", []):
                self._volumes[disk["Ebs"]["VolumeId"]] = name
            if name in self._guests and machine["State"]["Name"] != "running":
                self._guests[name].stop()
        for snapshot in self._client.describe_snapshots(OwnerIds=["self"])["Snapshots"]:
            self._keep(snapshot)
        for name, machine in machines.items():
            if machine["State"]["Name"] == "running":
                self._run(name, machine)

    def _machines(self) -> Iterator[Mapping[str, Any]]:
        for page in self._client.get_paginator("describe_instances").paginate():
            for reservation in page["Reservations"]:
                yield from reservation["Instances"]

    def _keep(self, snapshot: Mapping[str, Any]) -> None:
        name, volume = snapshot["SnapshotId"], self._volumes.get(snapshot["VolumeId"])
        if name not in self._saved and volume in self._guests:
            target = self._folder / f"{name}.qcow2"
            self._guests[volume].save(target)
            self._saved[name] = target

    def _run(self, name: str, machine: Mapping[str, Any]) -> None:
        found = [machine.get("PrivateIpAddress"), machine.get("PublicIpAddress")]
        addresses = [address for address in found if address and ip_address(address) in LOOPBACK]
        if not addresses:
            return
        if name not in self._guests:
            disk = self._disk(machine["ImageId"])
            text, key = self._user_data(name), self._key(machine.get("KeyName"))
            self._guests[name] = Guest(self._folder, name, disk, user_data=text, key=key)
        if not self._guests[name].on and name not in self._broken:
            self._guests[name].start(addresses)
            self._starts[name] = self._starts.get(name, 0) + 1
            if self._starts[name] > MOST_STARTS:
                self._broken.add(name)
                raise RuntimeError(f"the guest of {name} does not stay up; see {self._folder}")

    def _disk(self, image: str) -> Path:
        """Return the disk behind an image: of a snapshot that we saw or that was written by blocks, or the base."""
        for disk in self._client.describe_images(ImageIds=[image])["Images"][0]["BlockDeviceMappings"]:
            snapshot = disk.get("Ebs", {}).get("SnapshotId")
            if snapshot in self._saved:
                return self._saved[snapshot]
            if snapshot and (written := self._written(snapshot)):
                return written
        return self._base

    def _written(self, snapshot: str) -> Path | None:
        """Return the disk of a snapshot that was written block by block; None for any other."""
        from bakery.testing.aws.ebsgaps import disk  # it knows moto

        try:
            self._saved[snapshot] = disk(self._ebs, snapshot, self._folder / f"{snapshot}.qcow2")
        except self._ebs.exceptions.ResourceNotFoundException:
            return None
        return self._saved[snapshot]

    def _user_data(self, name: str) -> str:
        answer = self._client.describe_instance_attribute(InstanceId=name, Attribute="userData")
        text = text_of(base64.b64decode(answer.get("UserData", {}).get("Value", "")))
        return tinyinit.script(text) if self._tiny and text else text

    def _key(self, name: str | None) -> str:
        if not name:
            return ""
        pairs = self._client.describe_key_pairs(KeyNames=[name], IncludePublicKey=True)["KeyPairs"]
        return str(pairs[0].get("PublicKey", "")) if pairs else ""
