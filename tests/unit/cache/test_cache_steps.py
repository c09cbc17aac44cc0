"""Step keys: what makes a step run again, what does not, and what `bake why` says."""

import importlib
import importlib.util
import os
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bakery.cache.inputs import digest, external
from bakery.cache.inputs.external import LocalInput
from bakery.cache.records import Record
from bakery.cache.steps import Hit, Made, Miss, Steps, artifact_key, first_parent, remember
from bakery.errors import ImagefileError
from bakery.imagefile.task_options import TaskOptions
from bakery.util.observer import ACTIVE, note_output, note_path, note_untraceable, untraced

BASE = first_parent("sha256:base", driver="qemu")


class Project:
    """A folder with an imagefile that is edited and loaded again, as by a new process each time."""

    def __init__(self, root: Path, cache: Path) -> None:
        self.root, self.cache = root, cache
        root.mkdir(exist_ok=True)
        self.did: list[str] = []
        self.environ: dict[str, str] | None = None

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def load(self) -> ModuleType:
        for name in [name for name, module in sys.modules.items() if self._ours(module)]:
            del sys.modules[name]
        importlib.invalidate_caches()
        spec = importlib.util.spec_from_file_location("imagefile_test", self.root / "imagefile.py")
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules["imagefile_test"] = module
        spec.loader.exec_module(module)
        return module

    def _ours(self, module: ModuleType) -> bool:
        return (getattr(module, "__file__", None) or "").startswith(str(self.root))

    def find(self, name: str = "task", parent: str = BASE, **options: Any) -> Hit | Miss:
        module = self.load()
        return self.steps().find(parent, getattr(module, name), TaskOptions(**options), getattr(module, "v", None))

    def steps(self) -> Steps:
        return Steps(self.cache, self.root, environ=self.environ)

    def run(self, name: str = "task", parent: str = BASE, **options: Any) -> Made:
        module, steps = self.load(), self.steps()
        task, v = getattr(module, name), getattr(module, "v", None)
        with steps.tracer(task, v) as tracer:
            task(self, tracer.variables(v))
        return steps.record(parent, task, TaskOptions(**options), tracer, v)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    monkeypatch.syspath_prepend(str(tmp_path / "project"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    made = Project(tmp_path / "project", tmp_path / "cache")
    made.environ = dict(os.environ)
    yield made
    for name in [
        name for name, module in sys.modules.items() if str(tmp_path) in (getattr(module, "__file__", None) or "")
    ]:
        del sys.modules[name]


def why(project: Project, **options: Any) -> str:
    found = project.find(**options)
    return "" if isinstance(found, Hit) else found.reason


START = '''
    """An imagefile."""
    from dataclasses import dataclass
    from pathlib import Path
    import settings
    from helpers import configure

    HERE = Path(__file__).parent
    WORKERS = 4
    UNUSED = 1

    @dataclass(frozen=True, kw_only=True)
    class Vars:
        workers: int = 4
        name: str = "web"
        def title(self):
            return self.name.title()

    v = Vars()

    def helper(text):
        """Help."""
        return text.upper()

    def unrelated():
        return 1

    def task(m, v):
        """Do it."""
        m.did.append(helper("x") * WORKERS)
        configure(m)
        m.did.append(settings.PORT)
        m.did.append((HERE / "site.conf").read_text())
        m.did.append(v.workers)
    '''
HELPERS = """
    LEVEL = 2
    OTHER = 3
    def configure(m):
        m.did.append(LEVEL)
    """
SETTINGS = "PORT = 80\nHOST = 'x'\n"


@pytest.fixture
def started(project: Project) -> Project:
    project.write("imagefile.py", START)
    project.write("helpers.py", HELPERS)
    project.write("settings.py", SETTINGS)
    project.write("site.conf", "server {}")
    assert why(project) == "never ran"
    made = project.run()
    assert made == Made(made.key, files=(LocalInput("file", project.root / "site.conf"),))
    found = project.find()
    assert isinstance(found, Hit)
    assert found.key == made.key
    return project


def change(project: Project, name: str, old: str, new: str) -> None:
    path = project.root / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("name", "old", "new", "reason"),
    [
        ("imagefile.py", "WORKERS = 4", "WORKERS = 8", "constant WORKERS in imagefile.py: 4 -> 8"),
        ("imagefile.py", "text.upper()", "text.lower()", "function helper in imagefile.py changed"),
        ("imagefile.py", 'helper("x")', 'helper("y")', "task code changed"),
        ("imagefile.py", "workers: int = 4", "workers: int = 5", "variable workers: 4 -> 5"),
        ("helpers.py", "LEVEL = 2", "LEVEL = 5", "constant LEVEL in helpers.py: 2 -> 5"),
        ("settings.py", "PORT = 80", "PORT = 81", "constant PORT in settings.py: 80 -> 81"),
        ("site.conf", "server", "client", "site.conf changed"),
        ("helpers.py", "LEVEL = 2", "def LEVEL(): pass", "constant LEVEL in helpers.py changed"),
    ],
)
def test_what_a_step_uses_makes_it_run_again(started: Project, name: str, old: str, new: str, reason: str) -> None:
    change(started, name, old, new)
    assert why(started) == reason


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("imagefile.py", "UNUSED = 1", "UNUSED = 2"),
        ("imagefile.py", "def unrelated():\n    return 1", "def unrelated():\n    return 2"),
        ("imagefile.py", '"""An imagefile."""', '"""Another docstring,\n\nlonger."""\n# and a comment\n\n\n'),
        ("imagefile.py", '"""Do it."""', '"""Do it differently."""  # or not'),
        (
            "imagefile.py",
            'm.did.append(helper("x") * WORKERS)',
            'm.did.append(\n        (helper("x")) * WORKERS  # no\n    )',
        ),
        ("imagefile.py", 'name: str = "web"', 'name: str = "db"'),
        ("imagefile.py", 'name: str = "web"', 'name: str = "web"\n    more: int = 1'),
        ("helpers.py", "OTHER = 3", "# gone"),
        ("settings.py", "HOST = 'x'", "HOST = 'y'"),
        ("imagefile.py", "def unrelated():\n    return 1\n", ""),
    ],
)
def test_what_a_step_does_not_use_does_not(started: Project, name: str, old: str, new: str) -> None:
    change(started, name, old, new)
    assert why(started) == ""


def test_moving_functions_about_changes_nothing(started: Project) -> None:
    text = (started.root / "imagefile.py").read_text()
    helper = text[text.index("def helper") : text.index("def unrelated")]
    (started.root / "imagefile.py").write_text(text.replace(helper, "") + "\n\n" + helper)
    assert why(started) == ""


def test_another_checkout_has_the_same_keys(started: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started.root.rename(tmp_path / "elsewhere")
    monkeypatch.syspath_prepend(str(tmp_path / "elsewhere"))
    for name in ("helpers", "settings"):
        del sys.modules[name]
    other = Project(tmp_path / "elsewhere", started.cache)
    assert isinstance(other.find(), Hit)


def test_a_run_on_another_host_is_compared_with(started: Project, tmp_path: Path) -> None:
    ran = started.run()
    assert ran.last is not None
    here = Project(started.root, tmp_path / "another-cache")
    assert why(here) == "never ran"
    remember(here.cache, here.root, "", Record.from_json(ran.last.to_json()))
    assert why(here) == ""
    assert why(here, parent="s1-123") == "a step before it changed"


def test_a_newer_base_and_an_earlier_step_are_told_apart(started: Project) -> None:
    assert (
        why(started, parent=first_parent("sha256:newer", driver="qemu"))
        == "another base, or other settings of the source"
    )
    assert why(started, parent="s1-123") == "a step before it changed"


def test_options_that_change_what_is_done_count_and_others_do_not(started: Project) -> None:
    assert why(started, user="app") == "option user: not given -> 'app'"
    assert why(started, retries=3, timeout=5.0) == ""
    assert why(started, cache=False) == "cache=False"


def test_a_result_that_is_too_old_is_not_used(started: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    assert why(started, max_age="7d") == ""
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 8 * 86400)
    assert why(started, max_age="7d") == "older than 7d"
    assert why(started) == ""
    with pytest.raises(ImagefileError, match="is no span of time"):
        started.find(max_age="soon")


def test_going_back_to_an_earlier_state_is_a_hit(started: Project) -> None:
    first = started.find()
    change(started, "site.conf", "server", "client")
    started.run()
    change(started, "site.conf", "client", "server")
    again = started.find()
    assert isinstance(first, Hit)
    assert isinstance(again, Hit)
    assert first.key == again.key


def test_files_are_not_read_again_while_their_dates_stay(started: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    path = started.root / "site.conf"
    os.utime(path, (1000, 1000))
    monkeypatch.setattr(external, "RACY", 0)
    assert why(started) == ""
    with monkeypatch.context() as patch:
        patch.setattr(digest, "of_file", lambda _: pytest.fail("read again"))
        assert why(started) == ""
    path.write_text("client {}")
    os.utime(path, (1000, 1000))
    assert why(started) == "site.conf changed"


def test_several_changes_are_all_named(started: Project) -> None:
    change(started, "imagefile.py", "WORKERS = 4", "WORKERS = 8")
    change(started, "site.conf", "server", "client")
    assert why(started) == "site.conf changed; constant WORKERS in imagefile.py: 4 -> 8"


def simple(project: Project, body: str, head: str = "") -> Made:
    project.write(
        "imagefile.py", f"{textwrap.dedent(head)}\ndef task(m, v):\n{textwrap.indent(textwrap.dedent(body), '    ')}\n"
    )
    return project.run()


def test_a_file_that_appears_disappears_or_is_listed(project: Project) -> None:
    folder = project.root / "files"
    folder.mkdir(parents=True)
    body = f"Path({str(project.root / 'flag')!r}).exists()\nlist(Path({str(folder)!r}).glob('*.conf'))"
    assert simple(project, body, "from pathlib import Path").reusable
    assert why(project) == ""
    (project.root / "flag").touch()
    assert why(project) == "flag is new"
    (project.root / "flag").unlink()
    assert why(project) == ""
    (folder / "a.conf").touch()
    assert why(project) == "files were added to or removed from files"


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="this host has no /dev/shm")
def test_a_project_in_memory_is_watched_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """/dev/shm is among the devices, but holds files."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        project = Project(Path(folder) / "project", tmp_path / "cache")
        project.write(
            "imagefile.py",
            """
            from pathlib import Path
            HERE = Path(__file__).parent
            def task(m, v):
                m.did.append((HERE / "file").read_text())
                list(HERE.glob("*.conf"))
        """,
        )
        project.write("file", "one")
        project.run()
        assert isinstance(project.find(), Hit)
        project.write("file", "two")
        assert isinstance(project.find(), Miss)
        project.run()
        project.write("a.conf", "")
        assert isinstance(project.find(), Miss)


def test_paths_that_machine_reports_count_with_all_that_is_inside(project: Project) -> None:
    project.write("files/a/b.txt", "one")
    simple(project, "note_path('files')", "from bakery.util.observer import note_path")
    assert why(project) == ""
    (project.root / "files/a/b.txt").chmod(0o700)
    assert why(project) == "files changed"
    (project.root / "files/a/b.txt").chmod(0o644)
    assert why(project) == ""
    project.write("files/a/b.txt", "two")
    assert why(project) == "files changed"


def test_environment_variables_count_by_name(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_LEVEL", "1")
    project.environ = None
    simple(project, "import os\nos.environ.get('WEB_LEVEL')\nos.getenv('WEB_ABSENT')\n'WEB_THIRD' in os.environ")
    monkeypatch.setenv("WEB_OTHER", "2")
    assert why(project) == ""
    monkeypatch.setenv("WEB_LEVEL", "2")
    assert why(project) == "environment variable WEB_LEVEL changed"
    monkeypatch.setenv("WEB_LEVEL", "1")
    monkeypatch.setenv("WEB_THIRD", "")
    assert why(project) == "environment variable WEB_THIRD changed"
    simple(project, "import os\ndict(os.environ)")
    monkeypatch.setenv("WEB_OTHER", "3")
    assert why(project) == "the environment changed"


def test_secrets_are_recorded_by_keyed_digest_only(project: Project) -> None:
    head = """
        from dataclasses import dataclass
        from bakery.redaction.secret import Secret
        @dataclass(frozen=True)
        class Vars:
            password: Secret
        API = Secret("constant-hunter2")
        v = Vars(Secret("variable-hunter2"))
        """
    assert simple(
        project, "v.password.reveal(), API.reveal()", head.replace("bakery import", "bakery.redaction.secret import")
    ).reusable
    stored = b"".join(path.read_bytes() for path in project.cache.rglob("*") if path.is_file())
    assert b"hunter2" not in stored
    assert why(project) == ""
    change(project, "imagefile.py", "variable-hunter2", "variable-hunter3")
    assert why(project) == "variable password changed"
    change(project, "imagefile.py", "constant-hunter2", "constant-hunter3")
    assert "constant API in imagefile.py changed" in why(project)
    assert (project.cache / "records" / "secret.key").stat().st_mode & 0o777 == 0o600


def test_values_with_confidential_names_are_not_shown(project: Project) -> None:
    simple(project, "return DB_PASSWORD", "DB_PASSWORD = 'abc'")
    change(project, "imagefile.py", "'abc'", "'xyz'")
    assert why(project) == "constant DB_PASSWORD in imagefile.py changed"


def test_factories_differ_by_what_they_enclose(project: Project) -> None:
    head = """
        def install(package, level=1):
            def step(m, v):
                m.did.append((package, level))
            return step
        nginx = install("nginx")
        redis = install("redis")
        """
    project.write("imagefile.py", head)
    keys = {project.run("nginx").key, project.run("redis").key}
    assert len(keys) == 2
    change(project, "imagefile.py", '"nginx"', '"nginx-full"')
    found = project.find("nginx")
    assert isinstance(found, Miss)
    assert isinstance(project.find("redis"), Hit)


def test_defaults_classes_and_objects_are_followed(project: Project) -> None:
    head = """
        import functools, enum, re
        class Colour(enum.Enum):
            RED = 1
        class Site:
            port = 80
            def __init__(self, name):
                self.name = name
            def render(self):
                return f"{self.name}:{self.port}"
        @functools.lru_cache
        def cached(x):
            return x + 1
        SITES = [Site("a"), Site("b")]
        PATTERN = re.compile("a+")
        TABLE = {"colour": Colour.RED, "call": cached}
        """
    body = "m.did.append([s.render() for s in SITES] + [PATTERN.pattern, TABLE['call'](1)])"
    assert simple(project, body, head).reusable
    assert why(project) == ""
    for old, new in [
        ("port = 80", "port = 81"),
        ('Site("b")', 'Site("c")'),
        ("x + 1", "x + 2"),
        ('"a+"', '"b+"'),
        ("RED = 1", "RED = 2"),
        ("{self.name}:", "{self.name}/"),
    ]:
        change(project, "imagefile.py", old, new)
        assert why(project), (old, new)
        change(project, "imagefile.py", new, old)
        assert why(project) == "", (old, new)


def test_what_decorators_and_bound_methods_hide_is_followed(project: Project) -> None:
    head = """
        from contextlib import contextmanager
        from functools import wraps
        def logged(fn):
            @wraps(fn)
            def inner(*args):
                return fn(*args)
            return inner
        @contextmanager
        def opened():
            yield "opened"
        @logged
        def helper():
            return "helped"
        GET = {"a": 1}.get
        """
    body = "with opened() as word:\n    m.did.append([word, helper(), GET('a')])"
    assert simple(project, body, head).reusable
    assert why(project) == ""
    for old, new in [('"opened"', '"closed"'), ('"helped"', '"failed"'), ('"a": 1', '"a": 2'), ("fn(*args)\n", "1\n")]:
        change(project, "imagefile.py", old, new)
        assert why(project), (old, new)
        change(project, "imagefile.py", new, old)
        assert why(project) == "", (old, new)


def test_a_module_that_is_handed_on_counts_as_a_whole(project: Project) -> None:
    project.write("settings.py", SETTINGS)
    simple(project, "m.did.append(getattr(settings, 'PO' + 'RT'))", "import settings")
    assert why(project) == ""
    change(project, "settings.py", "HOST = 'x'", "HOST = 'y'")
    assert why(project) == "constant HOST in settings.py: 'x' -> 'y'"


def test_imports_inside_the_task_are_followed(project: Project) -> None:
    project.write("helpers.py", HELPERS)
    project.write("settings.py", SETTINGS)
    simple(
        project,
        "import settings\nimport json\nfrom helpers import configure\nconfigure(m)\nm.did.append(settings.PORT)",
    )
    assert why(project) == ""
    change(project, "helpers.py", "LEVEL = 2", "LEVEL = 3")
    assert why(project) == "constant LEVEL in helpers.py: 2 -> 3"
    change(project, "helpers.py", "LEVEL = 3", "LEVEL = 2")
    change(project, "helpers.py", "OTHER = 3", "OTHER = 4")
    assert why(project) == ""
    change(project, "settings.py", "PORT = 80", "PORT = 81")
    assert why(project) == "constant PORT in settings.py: 80 -> 81"


@pytest.mark.parametrize(
    ("head", "body", "reason"),
    [
        (
            "import io; F = io.TextIOWrapper(io.BytesIO())",
            "return F",
            "constant F in imagefile.py: a _io.TextIOWrapper has no content",
        ),
        ("", "eval('1')", "imagefile.py uses eval, and what that reaches cannot be followed"),
        ("import importlib", "importlib.import_module('js' + 'on')", "imagefile.py uses import_module"),
        ("SEEN = []", "SEEN.append(1)", "constant SEEN in imagefile.py was changed while the step ran"),
        ("N = 1", "global N\nN = 2", "constant N in imagefile.py was changed while the step ran"),
        (
            "import os",
            "try: os.posix_spawn('/no/such', ['x'], {})\nexcept OSError: pass",
            "it runs a program",
        ),
        ("", "open('out.txt', 'w').close()", "it leaves out.txt on this host"),
        ("", "open('log.txt', 'a').write('x')", "log.txt was changed while the step ran"),
        (
            "from bakery.util.observer import *",
            "note_output('x.txt')\nopen('x.txt', 'w').close()",
            "it leaves x.txt",
        ),
        ("from bakery.util.observer import note_untraceable as n", "n('local runs make')", "local runs make"),
    ],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_what_cannot_be_followed_is_never_reused(
    project: Project, monkeypatch: pytest.MonkeyPatch, head: str, body: str, reason: str
) -> None:
    monkeypatch.chdir(project.root)
    made = simple(project, body, head)
    assert not made.reusable
    assert any(reason in each for each in made.reasons), made.reasons
    assert made.key != project.run().key
    assert "it cannot be cached: " in why(project)
    assert reason in why(project)


def test_what_a_step_makes_for_itself_is_no_input(project: Project) -> None:
    body = """
        import tempfile, shutil
        from pathlib import Path
        folder = Path(tempfile.mkdtemp())
        (folder / "x").write_text("1")
        m.did.append((folder / "x").read_text())
        shutil.rmtree(folder)
        """
    assert simple(project, body).reusable
    assert why(project) == ""


def test_docstrings_count_where_they_are_read(project: Project) -> None:
    simple(project, "return helper.__doc__", 'def helper():\n    """One."""')
    change(project, "imagefile.py", "One", "Two")
    assert why(project) == "function helper in imagefile.py changed"


def test_a_file_edited_after_it_was_imported_does_not_confuse(project: Project) -> None:
    made = simple(project, "m.did.append(A)", "A = 1")
    module = project.load()
    change(project, "imagefile.py", "m.did.append(A)", "m.did.append(A + 1)")
    steps = project.steps()
    with steps.tracer(module.task, None) as tracer:
        module.task(project, None)
    stale = steps.record(BASE, module.task, TaskOptions(), tracer, None)
    assert project.run().key not in (stale.key, made.key)


def test_variables_look_and_compare_like_themselves(started: Project) -> None:
    module = started.load()
    with started.steps().tracer(module.task, module.v) as tracer:
        proxy = tracer.variables(module.v)
        assert isinstance(proxy, module.Vars)
        assert tracer.read == {}
        assert proxy.title() == "Web"
        assert tracer.read == {("variable", "name"): None}
        assert proxy == module.v
        assert repr(proxy) == repr(module.v)
        with pytest.raises(AttributeError):
            proxy.name = "x"
    assert tracer.variables(None) is None


def test_watching_ends_with_the_step(project: Project) -> None:
    stat, data = os.stat, os.environ._data  # type: ignore[attr-defined]  # what is replaced meanwhile
    simple(project, "note_path('x')", "from bakery.util.observer import note_path")
    assert os.stat is stat
    assert os.environ._data is data  # type: ignore[attr-defined]  # the same
    note_path("nothing")
    note_output("nothing")
    note_untraceable("nothing")


def test_steps_in_two_threads_do_not_mix(project: Project) -> None:
    project.write("imagefile.py", "def task(m, v):\n    open(m).close()\n    m2 = open(m).close()\n")
    task, steps = project.load().task, project.steps()
    read: dict[str, Any] = {}

    def one(name: str) -> None:
        project.write(name, name)
        for _ in range(50):
            with steps.tracer(task, None) as tracer:
                task(str(project.root / name), None)
            read[name] = set(tracer.read)

    threads = [threading.Thread(target=one, args=(name,)) for name in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read == {name: {("file", str(project.root / name))} for name in ("a", "b", "c")}


def test_threads_of_a_step_are_followed(project: Project) -> None:
    project.write("a.txt", "1")
    head = f"""
        from concurrent.futures import ThreadPoolExecutor
        from pathlib import Path
        def one(m):
            m.did.append(Path({str(project.root / "a.txt")!r}).read_text())
        """
    simple(project, "with ThreadPoolExecutor(2) as pool:\n    list(pool.map(one, [m, m]))", head)
    assert why(project) == ""
    project.write("a.txt", "2")
    assert why(project) == "a.txt changed"


def test_threads_that_are_not_the_users_are_not_followed(project: Project) -> None:
    simple(project, "return None")
    made: list[object] = []
    with project.steps().tracer(project.load().task, None) as tracer:
        run = tracer.follow(lambda: made.append(1))
    assert run is not None
    run()
    assert made == [1]
    assert ACTIVE.get() is None  # what comes after is not the step's


def test_untraced_work_is_not_the_steps(project: Project) -> None:
    project.write("x", "")
    made = simple(
        project,
        "with untraced():\n    open('/etc/hostname').close()",
        "from bakery.util.observer import untraced",
    )
    assert made.files == ()
    with untraced():
        pass


def test_keys_of_images() -> None:
    assert artifact_key("s1-1", {}, {"format": "qcow2"}) != artifact_key("s1-1", {}, {"format": "raw"})


def test_a_task_whose_working_folder_is_gone_may_still_read_and_is_not_reused(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path)  # so that the folder is the old one again afterwards
    project.write(
        "imagefile.py",
        f"""
        import os

        v = None

        def task(m, v):
            os.chdir({str(tmp_path / "gone")!r})
            os.rmdir({str(tmp_path / "gone")!r})
            folder = os.open({str(tmp_path)!r}, os.O_RDONLY)
            os.close(os.open("project", os.O_RDONLY, dir_fd=folder))
            os.close(folder)
            m.did.append("read")
        """,
    )
    project.run()
    assert project.did == ["read"]
    assert "it works in a folder that is gone" in why(project)
