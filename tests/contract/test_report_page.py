"""The report in a browser: layout, dark mode, the width of a phone, keyboard and contrast.

Where Debian's chromium is not installed these are skipped (`tools/host-packages browser` installs it): it is no small
thing to ask of everybody who runs the tests.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from bakery.reporting.html import page
from bakery.reporting.run_index import RunLine, index
from tests.unit.reporting import gallery

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
LEAST_CONTRAST = 4.5
"""WCAG 2.2, 1.4.3, for text of ordinary size."""

LOOK = """
document.querySelectorAll("details").forEach((d) => { d.open = true; });
const channel = (c) => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const behind = (e) => {
  for (; e; e = e.parentElement) {
    const c = numbers(getComputedStyle(e).backgroundColor);
    if (c.length < 4 || c[3] > 0) return c;
  }
  return [255, 255, 255];
};
const texts = [...document.body.querySelectorAll("*")].filter((e) => e.tagName !== "SCRIPT" && e.offsetParent !== null
  && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()));
const contrast = texts.map((e) => {
  const [a, b] = [light(numbers(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
  return [(a + 0.05) / (b + 0.05), e.tagName + "." + e.className, e.textContent.trim().slice(0, 40)];
});
const width = document.documentElement.clientWidth;
const wide = [...document.body.querySelectorAll("*")].filter((e) => !e.closest(".sr") && e.offsetParent !== null
  && (e.getBoundingClientRect().right > width + 1 || e.getBoundingClientRect().left < -1));
const headline = document.querySelector("h1").getBoundingClientRect().top;
const stops = [...document.querySelectorAll("a[href], button, summary, pre[tabindex]")].filter((e) => e.offsetParent);
const reached = stops.filter((e) => { e.focus(); return document.activeElement === e && e.tabIndex >= 0; });
const unnamed = [...document.querySelectorAll("img:not([alt]), button:not([aria-label]), a:empty")].length;
const loaded = performance.getEntriesByType("resource").filter((r) => !r.name.startsWith("data:")).map((r) => r.name);
const overlapping = [...document.querySelectorAll(".row > summary, .row.plain")].filter((row) => {
  const [name, number] = [row.querySelector(".name"), row.querySelector(".num")].map((e) => e.getBoundingClientRect());
  return number.width && name.right > number.left + 1 && name.bottom > number.top && number.bottom > name.top;
}).length;
const found = {
  background: getComputedStyle(document.body).backgroundColor, width, scroll: document.documentElement.scrollWidth,
  worst: contrast.sort((x, y) => x[0] - y[0]).slice(0, 5), texts: texts.length,
  wide: wide.map((e) => e.className).slice(0, 5), stops: stops.length, reached: reached.length,
  unnamed, headline, loaded, overlapping,
};
const out = document.createElement("pre");
out.id = "found"; out.textContent = JSON.stringify(found);
document.body.append(out);
"""


@dataclass(frozen=True)
class Browser:
    """Debian's chromium, without a window."""

    folder: Path

    def look(self, text: str, *, width: int = 1100, dark: bool = False) -> dict[str, Any]:
        """Lay a page out, and return what a script of ours sees there; for that its policy is taken away."""
        file = self.folder / "page.html"
        without = re.sub(r"<meta http-equiv=.Content-Security-Policy.*?>\n", "", text)
        assert without != text
        file.write_text(without.replace("</body>", f"<script>{LOOK}</script></body>"))
        done = self.run(f"--window-size={width},900", f"--blink-settings=preferredColorScheme={0 if dark else 1}", file)
        found: dict[str, Any] = json.loads(unescape(re.findall(r'<pre id="found">(.*?)</pre>', done, re.DOTALL)[0]))
        return found

    def run(self, *words: str | Path) -> str:
        """Return the document after it was laid out."""
        file = Path(words[-1])
        command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        command += [f"--user-data-dir={self.folder / 'profile'}", "--virtual-time-budget=2000", *map(str, words[:-1])]
        done = subprocess.run(
            [*command, "--dump-dom", file.as_uri()], capture_output=True, text=True, check=True, timeout=120
        )
        return done.stdout


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Browser:
    return Browser(tmp_path_factory.mktemp("browser"))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    return page(gallery.run(tmp_path_factory.mktemp("run")))


@pytest.fixture(scope="module")
def overview() -> str:
    runs = [
        RunLine(id=f"20261122-1430{n:02}-9f3a", link="r", state="ok", started=n + 1.0, seconds=n) for n in range(30)
    ]
    return index(
        "images", [*runs, RunLine(id="last", state="exit code 8", builds=["web[release=bookworm]@laptop"] * 6)]
    )


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1100, 700, 500], ids=["desk", "tablet", "phone"])
@pytest.mark.parametrize("name", ["report", "overview"])
def test_everything_can_be_read_and_reached(
    browser: Browser, request: pytest.FixtureRequest, name: str, width: int, dark: bool
) -> None:
    found = browser.look(request.getfixturevalue(name), width=width, dark=dark)
    assert found["texts"] > 20
    assert found["worst"][0][0] >= LEAST_CONTRAST, found["worst"]
    assert (found["scroll"] <= found["width"], found["wide"]) == (True, [])
    assert found["overlapping"] == 0
    assert found["reached"] == found["stops"] > 0
    assert (found["unnamed"], found["loaded"]) == (0, [])
    assert 0 < found["headline"] < 100


def test_dark_and_light_are_two(browser: Browser, report: str) -> None:
    assert browser.look(report)["background"] == "rgb(255, 255, 255)"
    assert browser.look(report, dark=True)["background"] == "rgb(13, 17, 23)"


def test_the_pages_policy_lets_its_own_script_run_and_no_other(browser: Browser, report: str) -> None:
    file = browser.folder / "policy.html"
    click = 'document.querySelector("button[data-copy]").click(); document.title = "ran";'
    file.write_text(report.replace("</body>", f"<script>{click}</script></body>"))
    assert "<title>bake 20261122-143005-9f3a</title>" in browser.run(file)
