"""Templates: strict, with the line that fails, and traced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bakery.cache.inputs.tracer import Tracer
from bakery.errors import TaskError
from bakery.machine.machine import Machine
from bakery.provision import template
from bakery.redaction.secret import Secret
from bakery.testing import FakeMachine


@pytest.fixture
def m(tmp_path: Path) -> FakeMachine:
    (tmp_path / "site.conf.j2").write_text("port {{ port }}\n{% if tls %}\ntls {{ tls.name }}\n{% endif %}\n")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "page.j2").write_text("one\n{% include 'foot.j2' %}\n")
    (tmp_path / "foot.j2").write_text("foot\n\n{{ words | join(' ') }}\n")
    return FakeMachine(folder=tmp_path)


def test_a_template_is_rendered_and_written_as_ansible_would(m: FakeMachine) -> None:
    template(m, "site.conf.j2", "/etc/site.conf", mode=0o600, port=80, tls={"name": "x"})
    assert m.files["/etc/site.conf"].text == "port 80\ntls x\n"
    assert m.files["/etc/site.conf"].mode == 0o600


@pytest.mark.parametrize(
    ("text", "port", "line", "why"),
    [
        ("a\n{{ port }}\n", None, 2, "'port' is undefined"),
        ("{% if port %}{% endif %}", None, 1, "'port' is undefined"),
        ("a\nb\n{% if %}\n", None, 3, "Expected an expression"),
        ("a\n{{ 1 / port }}", 0, 2, "ZeroDivisionError"),
        ("\n{% include 'gone.j2' %}", None, 2, "there is no 'gone.j2'"),
    ],
)
def test_what_cannot_be_rendered_is_said_with_file_and_line(
    tmp_path: Path, text: str, port: int | None, line: int, why: str
) -> None:
    m = FakeMachine(folder=tmp_path)
    names: dict[str, Any] = {} if port is None else {"port": port}
    (tmp_path / "bad.j2").write_text(text)
    with pytest.raises(TaskError, match=r"the template bad.j2 cannot be rendered") as caught:
        template(m, "bad.j2", "/etc/x", **names)
    assert why in caught.value.why
    assert caught.value.where is not None
    assert (caught.value.where.file, caught.value.where.line) == (tmp_path / "bad.j2", line)
    assert "/etc/x" not in m.files


def test_the_line_is_that_of_the_part_that_fails(m: FakeMachine, tmp_path: Path) -> None:
    with pytest.raises(TaskError) as caught:
        template(m, "parts/page.j2", "/etc/x")
    assert str(caught.value.where) == f"{tmp_path / 'foot.j2'}:3"
    assert "foot.j2:3: {{ words | join(' ') }}" in caught.value.why


def test_a_secret_is_written_as_a_secret(m: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[object] = []
    monkeypatch.setattr(Machine, "write", lambda _m, _path, text, **_: written.append(text))
    template(m, "site.conf.j2", "/etc/x", port=1, tls={"name": Secret("hunter22", "tls")})
    assert written == [Secret("port 1\ntls hunter22\n")]


def test_all_that_is_looked_at_is_an_input(m: FakeMachine, tmp_path: Path) -> None:
    with Tracer(tmp_path) as tracer:
        template(m, "parts/page.j2", "/etc/x", words=["a"])
    assert {name.removeprefix(f"{tmp_path}/") for _, name in tracer.read} == {
        "parts/page.j2",
        "parts/foot.j2",  # is not there: were it, it would come first
        "foot.j2",
    }
