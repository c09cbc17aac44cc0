"""Where and as whom OpenStack is called: one openstacksdk connection for each account, for all threads."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from bakery.drivers.openstack.api.errors import (
    NOT_FOUND,
    UNAUTHORIZED,
    OpenStackError,
    OpenStackRetryableError,
    translate_errors,
)
from bakery.drivers.shared.clouds import CloudPool
from bakery.model import to_json
from bakery.util.retry import retry
from bakery.util.waiting import Cancel

if TYPE_CHECKING:
    from openstack.connection import Connection

T = TypeVar("T")
ATTEMPTS = 6
TIMEOUT = 60.0
"""Seconds to wait for an answer."""
COMPUTE = "2.67"
"""Nova's microversion, of Rocky (2018): types of boot volumes. All that we ask for is in it."""
SERVICES = ("identity", "compute", "image", "network", "block_storage")


@dataclass(frozen=True, kw_only=True)
class OpenStackAccount:
    """As whom and where; enough, as JSON, to come back in another process.

    Args:
        cloud: entry of clouds.yaml, or None for OS_CLOUD and the OS_* variables.
        region: None is the entry's own.
        interface: None is the entry's own.
    """

    cloud: str | None = None
    region: str | None = None
    interface: str | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> OpenStackAccount:
        """Read what `model.to_json` wrote, or any mapping that has these names in it."""
        return cls(**{name: data.get(name) for name in ("cloud", "region", "interface")})


def _connect(account: OpenStackAccount) -> Connection:
    """Open a connection that repeats nothing by itself and answers nothing from a cache.

    Raises:
        OpenStackError: the configuration cannot be read, or names no such cloud; or openstacksdk does not work here.
    """
    # Without a handler Python prints keystoneauth's warnings to standard error; what matters of them is in its errors.
    logging.getLogger("keystoneauth").addHandler(logging.NullHandler())
    with translate_errors("read the OpenStack configuration"), warnings.catch_warnings():
        # openstacksdk 4.6 to 4.22 warns of a metrics option that it sets itself.
        warnings.filterwarnings("ignore", message="Support for InfluxDB")
        import openstack

        try:
            connection = openstack.connect(
                cloud=account.cloud,
                region_name=account.region,
                interface=account.interface,
                app_name="imagebakery",
                load_envvars=True,
                api_timeout=TIMEOUT,
                compute_default_microversion=COMPUTE,
            )
        except UnicodeEncodeError as error:  # stevedore, which finds the ways to log in, encodes each path in sys.path
            raise OpenStackError(
                "openstacksdk does not work in this project's folder",
                why=f"a name on the way to it is not UTF-8: {error.object!a}",
                hint="give the folder another name",
            ) from error
    # `cache:` of clouds.yaml would answer questions about state with what was so a while ago.
    connection.cache_enabled = False
    return connection


def named() -> list[str]:
    """Return the clouds that clouds.yaml and the environment name; the environment's own is `envvars`.

    Raises:
        OpenStackError: a file cannot be read.
    """
    with translate_errors("read the OpenStack configuration"):
        from openstack.config import OpenStackConfig

        return sorted(set(OpenStackConfig().get_cloud_names()) - {"defaults"})


@dataclass(frozen=True, eq=False)
class OpenStackCloud:
    """One project of one cloud, called through the resource proxies of openstacksdk.

    Args:
        account: as asked for.
        connection: openstacksdk's, of this account.
        cancel: ends the pauses between two attempts.
    """

    account: OpenStackAccount
    connection: Connection
    cancel: Cancel = field(default_factory=Cancel)
    _locks: Mapping[str, Any] = field(default_factory=lambda: {service: threading.RLock() for service in SERVICES})

    @property
    def record(self) -> dict[str, Any]:
        """What a record must hold so that `OpenStackClouds.of` finds back here."""
        return {"account": to_json(self.account)}

    @property
    def project(self) -> str:
        """The project's id."""
        with translate_errors("log in"):
            return str(self.connection.current_project_id)

    def within(self, cancel: Cancel) -> OpenStackCloud:
        """Return the same cloud, whose pauses end when `cancel` is set."""
        return replace(self, cancel=cancel)

    def call(self, service: str, what: str, request: Callable[[Any], T], *, repeat: bool = True) -> T:
        """Make a request through the proxy of a service, and turn openstacksdk's errors into ours.

        Args:
            service: of `SERVICES`.
            what: what is wanted, for the message of an error: "start a server".
            request: gets the proxy: `lambda compute: compute.get_server(name)`. What it returns must be complete: a
                generator of openstacksdk asks for its pages only when it is read.
            repeat: make it again after a refusal for now or a lost answer. False where that would do something twice.

        Raises:
            OpenStackError: the cloud refused.
            OpenStackRetryableError: it refused for now, or did not answer, each time.
        """

        def ask() -> T:
            with translate_errors(what):
                return request(self.proxy(service))

        def attempt() -> T:
            try:
                return ask()
            except OpenStackRetryableError as error:
                if repeat and error.after:
                    self.cancel.sleep(error.after)
                raise
            except OpenStackError as error:
                if error.status != UNAUTHORIZED:
                    raise
                # Nothing was done. Of several threads that meet the end of one token, keystoneauth lets only the first
                # log in anew and ask again (Session.request and BaseIdentityPlugin.invalidate of 5.x).
                return ask()

        attempts = ATTEMPTS if repeat else 1
        return retry(attempt, self.cancel, on=OpenStackRetryableError, attempts=attempts, first=0.3)

    def find(self, service: str, what: str, request: Callable[[Any], T]) -> T | None:
        """Make a request as `call` does; return None where the cloud says that there is no such thing.

        Raises:
            OpenStackError: as `call`, but for a 404.
        """
        try:
            return self.call(service, what, request)
        except OpenStackError as error:
            if error.status != NOT_FOUND:
                raise
            return None

    def proxy(self, service: str) -> Any:
        """Return openstacksdk's proxy of a service.

        Two threads may not look up one service's endpoint and version at once. The retries that clouds.yaml may ask for
        (`connect_retries`, `status_code_retries`) are taken away: keystoneauth would repeat any request whose answer
        was lost, and so make a second server.
        """
        with self._locks[service]:
            proxy = getattr(self.connection, service)
            proxy.connect_retries = proxy.status_code_retries = 0
            return proxy

    def has(self, service: str) -> bool:
        """Say whether the cloud has a service at all."""
        with translate_errors("read the catalogue"), self._locks["identity"]:
            return bool(self.connection.has_service(service.replace("_", "-")))


class OpenStackClouds(CloudPool[OpenStackAccount, OpenStackCloud]):
    """The clouds that a process speaks to; each is opened once, for all threads."""

    def __init__(self) -> None:
        super().__init__(lambda account: OpenStackCloud(account, _connect(account)), OpenStackAccount.from_json)
