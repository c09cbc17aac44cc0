"""Where and as whom AWS is spoken to, and one client per service for the whole process.

One client serves all builds of a process on purpose: botocore's `adaptive` retries keep their token bucket per client,
so that a throttled answer to one build slows all of them down together (botocore/retries/adaptive.py).
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bakery.drivers.ec2.api.errors import translate_errors
from bakery.drivers.ec2.api.host_poller import poller
from bakery.drivers.ec2.api.poller import BatchPoller
from bakery.drivers.ec2.options import Role, read
from bakery.drivers.shared.clouds import CloudPool
from bakery.model import to_json

ATTEMPTS = 6
TIMEOUTS = (10, 60)
"""Seconds to connect, and to wait for an answer."""


@dataclass(frozen=True, kw_only=True)
class Ec2Account:
    """As whom and where; enough, as JSON, to come back in another process.

    Args:
        region: None until the SDK has said which.
        profile: of ~/.aws/config.
        roles: taken on one after the other.
        endpoint_url: for all services, or None.
        ec2_url: for EC2 alone, where it has one of its own (a VPC endpoint).
        poll: seconds between two questions about state.
    """

    region: str | None = None
    profile: str | None = None
    roles: tuple[Role, ...] = ()
    endpoint_url: str | None = None
    ec2_url: str | None = None
    poll: float = 1.0

    def __hash__(self) -> int:
        """By text, as roles hold mappings."""
        return hash(repr(self))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Ec2Account:
        """Read what `model.to_json` wrote."""
        return cls(**{key: read(value) for key, value in data.items() if key != "type"})


@dataclass
class Ec2Cloud:
    """One account in one region: calls, with their errors in our words, and what is watched there.

    Args:
        account: as asked for; afterwards with the region and endpoint that the SDK found.
    """

    account: Ec2Account
    _clients: dict[str, Any] = field(default_factory=dict[str, Any], init=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False)
    calls: dict[str, int] = field(default_factory=dict[str, int], init=False)

    def __post_init__(self) -> None:
        """Open the session, which reads files but asks nobody yet."""
        from bakery.drivers.ec2.api.session import open_session

        with translate_errors("read the AWS configuration"):
            self._session = open_session(self.account)
        given = self.account.endpoint_url
        own = self.account.ec2_url or (None if given else os.environ.get("AWS_ENDPOINT_URL_EC2"))
        found = given or os.environ.get("AWS_ENDPOINT_URL")
        self.account = replace(self.account, region=self._session.region_name, endpoint_url=found, ec2_url=own)
        self.instances = self._poller("describe_instances", "instance-id")
        self.images = self._poller("describe_images", "image-id")
        self.snapshots = self._poller("describe_snapshots", "snapshot-id")

    def _poller(self, operation: str, name: str) -> BatchPoller:
        text = repr((self.account, os.environ.get("AWS_PROFILE"), os.environ.get("AWS_ACCESS_KEY_ID"), operation))
        called = f"{operation}-{hashlib.sha256(text.encode()).hexdigest()[:32]}"
        return poller(lambda ids: self._described(operation, name, ids), self.account.poll, called)

    @property
    def region(self) -> str:
        """The region's name."""
        return str(self.account.region)

    @property
    def record(self) -> dict[str, Any]:
        """What a record must hold so that `Clouds.of` finds back here."""
        return {"account": to_json(self.account)}

    def endpoint(self, service: str) -> str | None:
        """Where a service is; None is AWS's own place for it."""
        if service == "ec2":
            return self.account.ec2_url or self.account.endpoint_url
        name = f"AWS_ENDPOINT_URL_{service.upper().replace('-', '_')}"
        return os.environ.get(name) or self.account.endpoint_url

    def client(self, service: str, *, once: bool = False) -> Any:
        """Return the one client of a service; boto3's clients may be used by several threads, but not made by them.

        Args:
            service: boto3's name.
            once: one that repeats nothing by itself.
        """
        from botocore.config import Config

        name = f"{service} once" if once else service
        with self._lock:
            if name not in self._clients:
                connect, answer = TIMEOUTS
                self._clients[name] = self._session.client(
                    service,
                    endpoint_url=self.endpoint(service),
                    config=Config(
                        retries={"mode": "adaptive", "total_max_attempts": 1 if once else ATTEMPTS},
                        connect_timeout=connect,
                        read_timeout=answer,
                        max_pool_connections=64,
                        user_agent_extra="imagebakery",
                    ),
                )
            return self._clients[name]

    def call(
        self, operation: str, what: str = "", *, service: str = "ec2", once: bool = False, **parameters: Any
    ) -> dict[str, Any]:
        """Ask, and turn errors into ours.

        Args:
            operation: boto3's method name: `run_instances`.
            what: what we wanted, for the message: "start an instance".
            service: boto3's service name.
            once: without botocore's own repetitions, for what must not be made twice.
            parameters: AWS's own; those that are None are left out.

        Raises:
            DriverError: refused.
            RetryableError: refused for now.
        """
        with self._lock:
            self.calls[operation] = self.calls.get(operation, 0) + 1
        given = {key: value for key, value in parameters.items() if value is not None}
        with translate_errors(what or operation.replace("_", " "), self):
            answer: dict[str, Any] = getattr(self.client(service, once=once), operation)(**given)
        return answer

    def pages(
        self, operation: str, result: str, *, service: str = "ec2", **parameters: Any
    ) -> Iterator[dict[str, Any]]:
        """Ask for all pages of a list, and yield its items."""
        client = self.client(service)
        if not client.can_paginate(operation):
            yield from self.call(operation, service=service, **parameters)[result]
            return
        with self._lock:
            self.calls[operation] = self.calls.get(operation, 0) + 1
        given = {key: value for key, value in parameters.items() if value is not None}
        with translate_errors(operation.replace("_", " "), self):
            for page in client.get_paginator(operation).paginate(**given):
                yield from page.get(result, [])

    def _described(self, operation: str, name: str, ids: list[str]) -> dict[str, dict[str, Any]]:
        """State of things by id. A filter, not an id list: what is not visible yet is then absent and not an error."""
        key, result = {
            "describe_instances": ("InstanceId", "Reservations"),
            "describe_images": ("ImageId", "Images"),
            "describe_snapshots": ("SnapshotId", "Snapshots"),
        }[operation]
        items = self.pages(operation, result, Filters=[{"Name": name, "Values": ids}])
        if result == "Reservations":
            items = (instance for reservation in items for instance in reservation["Instances"])
        return {item[key]: item for item in items}


class Ec2Clouds(CloudPool[Ec2Account, Ec2Cloud]):
    """The accounts and regions that a process speaks to; each is opened once, for all threads."""

    def __init__(self) -> None:
        super().__init__(Ec2Cloud, Ec2Account.from_json)

    def region(self, cloud: Ec2Cloud, name: str) -> Ec2Cloud:
        """Return the same account in another region."""
        return self.get(replace(cloud.account, region=name))
