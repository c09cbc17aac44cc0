"""A host key that is learned from a machine that proves what it is, and from nobody else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bakery.machine.transport.learned_key import ProvenKey
from bakery.machine.transport.learned_key_file import learned, proving
from bakery.machine.transport.ssh import SshTransport
from bakery.machine.transport.stages import NotReached
from bakery.model import Endpoint
from bakery.state.ssh_keys import PROOF, Keys, make_keys, proof_of
from bakery.util.waiting import Cancel
from tests.unit.machine.transport.sshd import KEYS, Run, Server

OTHER: Keys = make_keys("other")


def machine(monkeypatch: pytest.MonkeyPatch, shows: str, **options: str) -> Server:
    """Return a server that shows a text where the proof is looked for."""

    def login(run: Run) -> int | None:
        return run.say(shows) if run.server.lines[-1] == f"cat {PROOF}" else None

    return Server(login=login, **options).install(monkeypatch)  # type: ignore[arg-type]  # only texts are given


def reached(server: Server, file: Path) -> SshTransport:
    endpoint = replace(server.endpoint, host_key="", data=proving(file))
    return SshTransport(endpoint, KEYS.user_private, Cancel())


def test_a_machine_that_shows_its_proof_is_taken_and_its_key_is_pinned(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "host-key"
    server = machine(monkeypatch, f"{proof_of(KEYS.user_private)}\n")
    reached(server, file).close()
    assert learned(file) == " ".join(KEYS.host_public.split()[:2])
    assert server.lines[0] == f"cat {PROOF}", "before it is told anything"
    asked = server.lines.count(f"cat {PROOF}")
    reached(server, file).close()
    assert server.lines.count(f"cat {PROOF}") == asked, "once proven, the key is what counts"
    server.cut()

    stranger = machine(monkeypatch, f"{proof_of(KEYS.user_private)}\n", key=OTHER.host_private)
    with pytest.raises(NotReached, match="another ssh-ed25519 than at first"):
        reached(stranger, file)
    stranger.cut()


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        ("", "shows nothing in /run/bakery-proof"),
        (f"{proof_of(OTHER.user_private)}\n", "shows another text"),
        (proof_of(KEYS.user_private)[:-1], "shows another text"),
        ("x" * 100_000, "shows another text"),
    ],
    ids=["nothing", "another machine's", "a part of it", "without end"],
)
def test_whoever_shows_anything_else_is_told_nothing_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shown: str, said: str
) -> None:
    server = machine(monkeypatch, shown)
    with pytest.raises(NotReached, match=said) as refused:
        reached(server, tmp_path / "host-key")
    assert refused.value.stage == "host key"
    assert server.lines == [f"cat {PROOF}"]
    assert learned(tmp_path / "host-key") == ""
    server.cut()


def test_a_machine_that_hangs_up_first_is_asked_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def login(run: Run) -> int:
        run.server.cut()
        return 0

    server = Server(login=login).install(monkeypatch)
    with pytest.raises(NotReached) as refused:
        reached(server, tmp_path / "host-key")
    assert refused.value.stage in ("banner", "host key")
    assert learned(tmp_path / "host-key") == ""


@pytest.mark.parametrize("endpoint", [Endpoint(), Endpoint(host_key="ssh-ed25519 AAAA", data=proving(Path("key")))])
def test_a_key_is_proven_only_where_the_driver_says_so_and_none_is_known(endpoint: Endpoint) -> None:
    assert ProvenKey.of(endpoint, KEYS.user_private) is None


def test_a_proof_tells_nothing_of_the_key_and_is_each_machines_own() -> None:
    assert proof_of(KEYS.user_private) == proof_of(KEYS.user_private) != proof_of(OTHER.user_private)
    assert len(proof_of(KEYS.user_private)) == 64
