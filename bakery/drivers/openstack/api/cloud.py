"""Where and as whom OpenStack is spoken to: one session per cloud and process, and questions with our errors."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bakery.drivers.openstack.api.errors import NOT_FOUND, OpenStackRetryableError, refusal, translate_errors
from bakery.model import to_json
from bakery.util.retry import retry
from bakery.util.waiting import Cancel

ATTEMPTS = 6
TIMEOUT = 60.0
"""Seconds to wait for an answer."""
COMPUTE = "2.67"
"""Nova's microversion, of Rocky (2018): types of boot volumes. All that we ask for is in it."""
SERVICES = ("identity", "compute", "image", "network", "block_storage")
SAFE = frozenset({"GET", "HEAD", "PUT", "DELETE", "PATCH"})
"""Methods that may be sent again without doing something twice."""


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


class OpenStackClouds:
    """The clouds that a process speaks to; each is opened once, for all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[OpenStackAccount, OpenStackCloud] = {}

    def get(self, account: OpenStackAccount) -> OpenStackCloud:
        """Return the account's cloud."""
        with self._lock:
            if account not in self._made:
                self._made[account] = OpenStackCloud(account, _connect(account))
            return self._made[account]

    def of(self, data: Mapping[str, Any]) -> OpenStackCloud:
        """Return the cloud that a record's `account` names."""
        return self.get(OpenStackAccount.from_json(data["account"]))


def _connect(account: OpenStackAccount) -> Any:
    # Without a handler Python prints keystoneauth's warnings to standard error; what matters of them is in its errors.
    logging.getLogger("keystoneauth").addHandler(logging.NullHandler())
    with translate_errors("read the OpenStack configuration"), warnings.catch_warnings():
        # openstacksdk 4.6 to 4.22 warns of a metrics option that it sets itself.
        warnings.filterwarnings("ignore", message="Support for InfluxDB")
        import openstack

        return openstack.connect(
            cloud=account.cloud,
            region_name=account.region,
            interface=account.interface,
            app_name="imagebakery",
            load_envvars=True,
            api_timeout=TIMEOUT,
        )


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
    """One project of one cloud.

    Args:
        account: as asked for.
        connection: openstacksdk's; its proxies are adapters that know endpoints, versions and tokens.
        cancel: ends the pauses between two attempts.
    """

    account: OpenStackAccount
    connection: Any
    cancel: Cancel = field(default_factory=Cancel)
    _lock: Any = field(default_factory=threading.RLock)
    _locks: Mapping[str, Any] = field(default_factory=lambda: {service: threading.RLock() for service in SERVICES})
    calls: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def record(self) -> dict[str, Any]:
        """What a record must hold so that `Clouds.of` finds back here."""
        return {"account": to_json(self.account)}

    @property
    def project(self) -> str:
        """The project's id."""
        with translate_errors("log in"):
            return str(self.connection.current_project_id)

    def within(self, cancel: Cancel) -> OpenStackCloud:
        """Return the same cloud, whose pauses end when `cancel` is set."""
        return replace(self, cancel=cancel)

    def ask(
        self,
        method: str,
        service: str,
        path: str,
        what: str = "",
        *,
        missing_ok: bool = False,
        once: bool = False,
        **options: Any,
    ) -> dict[str, Any]:
        """Ask, and return the body of the answer.

        Args:
            method: HTTP's.
            service: of `SERVICES`.
            path: below the service's endpoint.
            what: what we wanted, for the message: "start a server".
            missing_ok: a 404 is an empty answer.
            once: not again after an answer that was lost, whatever the method.
            options: `json`, `params`, `headers`, `data` as requests has them.

        Raises:
            OpenStackError: the answer was no.
            OpenStackRetryableError: no, for now.
        """
        response = self.response(method, service, path, what, missing_ok=missing_ok, once=once, **options)
        if response.status_code == NOT_FOUND or not response.content:
            return {}
        body = response.json()
        return body if isinstance(body, dict) else {"": body}

    def response(
        self,
        method: str,
        service: str,
        path: str,
        what: str = "",
        *,
        missing_ok: bool = False,
        once: bool = False,
        **options: Any,
    ) -> Any:
        """The same, with the whole answer."""
        said = what or f"{method} {path}"

        def send() -> Any:
            return self._send(method, service, path, said, missing_ok=missing_ok, **options)

        attempts = 1 if once or method not in SAFE else ATTEMPTS
        return retry(self._patient(send), self.cancel, on=OpenStackRetryableError, attempts=attempts, first=0.3)

    def _patient(self, send: Callable[[], Any]) -> Callable[[], Any]:
        """Wait as long as the cloud asks for, if it does."""

        def call() -> Any:
            try:
                return send()
            except OpenStackRetryableError as error:
                if error.after:
                    self.cancel.sleep(error.after)
                raise

        return call

    def _send(self, method: str, service: str, path: str, what: str, *, missing_ok: bool, **options: Any) -> Any:
        if service == "compute":
            options["microversion"] = COMPUTE
        with self._lock:
            self.calls[f"{method} {service}"] = self.calls.get(f"{method} {service}", 0) + 1
        from keystoneauth1.adapter import Adapter

        timeout = options.pop("timeout", TIMEOUT)
        with translate_errors(what):
            # The proxy's own `request` adds nothing but metrics, and warnings of openstacksdk about itself.
            response: Any = Adapter.request(
                self.adapter(service), path, method, raise_exc=False, connect_retries=0, timeout=timeout, **options
            )
        if response.status_code < 400 or (missing_ok and response.status_code == NOT_FOUND):  # noqa: PLR2004  HTTP's
            return response
        raise refusal(what, response)

    def adapter(self, service: str) -> Any:
        """The service's adapter. Finding one service's endpoint and version is not for two threads at once."""
        with self._locks[service]:
            return getattr(self.connection, service)

    def has(self, service: str) -> bool:
        """Say whether the cloud has a service at all."""
        with translate_errors("read the catalogue"), self._lock:
            return bool(self.connection.has_service(service.replace("_", "-")))

    def pages(self, service: str, path: str, result: str, what: str = "", **params: Any) -> Iterator[dict[str, Any]]:
        """Ask for all pages of a list, and yield its items."""
        given: Any = {key: value for key, value in params.items() if value is not None}
        while path:
            answer = self.ask("GET", service, path, what, params=given)
            yield from answer[result]
            path, given = _next(answer, result), None


def _next(answer: Mapping[str, Any], result: str) -> str:
    """The next page: Glance gives a path below its root, the others a whole address."""
    if answer.get("next"):
        return str(answer["next"]).removeprefix("/v2")
    for link in answer.get(f"{result}_links", []):
        if link["rel"] == "next":
            return str(link["href"])
    return ""
