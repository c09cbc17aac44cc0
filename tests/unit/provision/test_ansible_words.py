"""What Ansible is told: words, variables, settings, inventory; and no secret among them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakery.provision.ansible_host import settings
from bakery.provision.ansible_inventory import inventory
from bakery.provision.ansible_play import private_folder
from bakery.provision.ansible_words import PlayOptions, limit, words
from bakery.provision.json_data import plain
from bakery.provision.secret_files import SecretFiles
from bakery.redaction.secret import Secret

NONE = PlayOptions(
    playbooks=(Path("/p/site.yml"),),
    host="default",
    groups=(),
    inventories=(),
    extra_vars={},
    vars_files=(),
    vault={},
    tags=(),
    skip_tags=(),
    limit="",
    start_at_task="",
    verbosity=0,
    check=False,
    more=(),
)


@pytest.fixture
def secrets(tmp_path: Path) -> Iterator[SecretFiles]:
    with SecretFiles(tmp_path) as files:
        yield files


def option(found: list[str], name: str) -> str:
    return found[found.index(name) + 1]


def test_a_plain_play_has_our_inventory_and_no_limit(secrets: SecretFiles) -> None:
    assert words(NONE, Path("/t/hosts"), secrets) == ["--inventory", "/t/hosts", "/p/site.yml"]


def test_a_projects_inventory_comes_first_and_its_other_hosts_are_left_alone(secrets: SecretFiles) -> None:
    play = PlayOptions(**{**vars(NONE), "inventories": (Path("/p/hosts.ini"),), "host": "one"})
    found = words(play, Path("/t/hosts"), secrets)
    assert found[:4] == ["--inventory", "/p/hosts.ini", "--inventory", "/t/hosts"]
    assert option(found, "--limit") == "one:localhost"
    assert limit(PlayOptions(**{**vars(play), "limit": "web"})) == "one:&web"


def test_secrets_are_in_no_word_and_can_be_read_more_than_once(secrets: SecretFiles) -> None:
    play = PlayOptions(
        **{**vars(NONE), "extra_vars": {"a": [{"b": Secret("hunter22")}]}, "vault": {"prod": Secret("sesame1")}}
    )
    found = words(play, Path("/t/hosts"), secrets)
    assert not any("hunter22" in word or "sesame1" in word for word in found)
    file = Path(option(found, "--extra-vars").removeprefix("@"))
    assert file.is_fifo()
    for _ in range(3):
        assert json.loads(file.read_text()) == {"a": [{"b": "hunter22"}]}
    name, _, vault = option(found, "--vault-id").partition("@")
    assert (name, Path(vault).read_text()) == ("prod", "sesame1")


def test_a_key_is_a_file_of_this_user_alone_and_goes(tmp_path: Path) -> None:
    with SecretFiles(tmp_path) as files:
        key = Path(files.file("PRIVATE"))
        assert (key.read_text(), key.stat().st_mode & 0o777) == ("PRIVATE", 0o600)
    assert not key.exists()


def test_pipes_that_nobody_reads_end(tmp_path: Path) -> None:
    with SecretFiles(tmp_path) as files:
        for _ in range(3):
            files.pipe("never read")


def test_what_has_no_form_in_json_is_refused() -> None:
    assert plain({"p": Path("/a"), "t": (1, None, True)}) == {"p": "/a", "t": [1, None, True]}
    with pytest.raises(TypeError, match="set has no form in JSON"):
        plain({"x": {1}})


def test_an_inventory_has_the_machine_in_its_groups() -> None:
    made = json.loads(inventory("one", ["web", "db"], {"ansible_port": 22}))
    assert made == {
        "all": {
            "hosts": {"one": {"ansible_port": 22}},
            "children": {"web": {"hosts": {"one": None}}, "db": {"hosts": {"one": None}}},
        }
    }


def test_what_a_project_says_of_pipelining_and_python_counts(tmp_path: Path) -> None:
    plainly = settings(None, tmp_path)
    assert (plainly["ANSIBLE_PIPELINING"], plainly["ANSIBLE_PYTHON_INTERPRETER"]) == ("True", "auto_silent")
    assert Path(plainly["ANSIBLE_CONFIG"]).read_text() == ""
    config = tmp_path / "own.cfg"
    config.write_text(
        "[defaults]\nroles_path = roles:~/r\ninterpreter_python = /usr/bin/python3\n[connection]\npipelining=no\n"
    )
    made = settings(config, tmp_path, roles=[Path("/extra")])
    assert "ANSIBLE_PIPELINING" not in made
    assert "ANSIBLE_PYTHON_INTERPRETER" not in made
    assert made["ANSIBLE_ROLES_PATH"].split(":")[:2] == ["/extra", f"{tmp_path}/roles"]
    assert made["ANSIBLE_CONFIG"] == str(config)
    assert made["ANSIBLE_REMOTE_TMP"].startswith("/tmp/.")


def test_sockets_have_room_where_temporary_files_are_far_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("d" * 60)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with private_folder() as folder:
        assert len(f"{folder}/cp/0123456789.0123456789abcdef") < 108
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")
    with private_folder() as folder:
        assert folder.parent == Path("/tmp")
