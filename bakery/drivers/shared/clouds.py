"""The clouds that a process speaks to: one connection for each account, for all threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Generic, Protocol, TypeVar

A = TypeVar("A", bound=Hashable)


A_co = TypeVar("A_co", bound=Hashable, covariant=True)


class HasAccount(Protocol[A_co]):
    """A cloud that knows as whom it is spoken to."""

    @property
    def account(self) -> A_co:
        """As whom and where, with what the SDK found out besides."""
        ...


C = TypeVar("C", bound=HasAccount[Any])


class CloudPool(Generic[A, C]):
    """Opens each account's cloud once; two spellings of one account share a cloud.

    Args:
        connect: opens an account's cloud.
        read: reads an account from its JSON.
    """

    def __init__(self, connect: Callable[[A], C], read: Callable[[Mapping[str, Any]], A]) -> None:
        self._connect, self._read = connect, read
        self._lock = threading.Lock()
        self._clouds: dict[A, C] = {}

    def get(self, account: A) -> C:
        """Return the account's cloud."""
        with self._lock:
            if account not in self._clouds:
                cloud = self._connect(account)
                self._clouds[account] = self._clouds.setdefault(cloud.account, cloud)
            return self._clouds[account]

    def of(self, data: Mapping[str, Any]) -> C:
        """Return the cloud that a record's `account` names."""
        return self.get(self._read(data["account"]))
