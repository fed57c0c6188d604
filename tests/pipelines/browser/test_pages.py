"""The report in a real browser: sorting, filtering, keyboard, narrow screens, hostile captions, no scripts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines import report
from tests.pipelines.browser.chromium import Browser, chromium, find
from tests.pipelines.shared.reporting import world
from tests.pipelines.shared.reporting.world import RECALL

pytestmark = pytest.mark.skipif(find() is None, reason="no Chromium on this machine")

RETRIEVAL = "document.querySelector('[data-task=retrieval]')"
NAMES = f"[...{RETRIEVAL}.querySelectorAll('tbody:first-of-type tr')].map((row) => row.cells[0].textContent.trim())"
SHOWN = "[...document.querySelectorAll('tr[data-pack]')].filter((row) => row.offsetParent).length"
STATE = "document.querySelector('.filter output').textContent"
ACTIVE = "document.activeElement"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report about hostile captions, with columns enough to be too wide for a telephone."""
    project = tmp_path_factory.mktemp("project")
    params = world.build(project)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        report.run(params)
    return project / "reports"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browser(running: Browser, pages: Path) -> Browser:
    """The leaderboard, freshly opened."""
    running.open(pages / "index.html")
    return running


def tab_to(browser: Browser, condition: str) -> None:
    """Presses Tab until the focused element fulfils a condition."""
    for _ in range(60):
        browser.press("Tab")
        if browser.run(f"(({ACTIVE}) => {condition})({ACTIVE})".replace(f"(({ACTIVE})", "((it)")):
            return
    pytest.fail(f"the keyboard does not reach {condition}")


def test_a_click_sorts_and_another_one_turns_it(browser: Browser) -> None:
    assert browser.run(NAMES) == ["first", "second", "third"]
    click = f"[...{RETRIEVAL}.querySelectorAll('th button')].find((it) => it.textContent === '{RECALL}').click()"
    browser.run(click)
    assert browser.run(NAMES) == ["second", "third", "first"]
    assert browser.run(f"{RETRIEVAL}.querySelector('[aria-sort]').ariaSort") == "descending"
    browser.run(click)
    assert browser.run(NAMES) == ["first", "third", "second"]
    last = f"[...{RETRIEVAL}.querySelectorAll('tbody tr')].at(-1).cells[0].textContent"
    assert "shuffled" in browser.run(last), "references stay below the models"


def test_the_keyboard_sorts(browser: Browser) -> None:
    tab_to(browser, f"it.closest('.board')?.dataset.task === 'retrieval' && it.textContent === '{RECALL}'")
    assert browser.run(f"getComputedStyle({ACTIVE}).outlineStyle") == "solid", "the focus can be seen"
    browser.press("Enter")
    assert browser.run(NAMES) == ["second", "third", "first"]


def test_the_keyboard_filters_and_it_is_announced(browser: Browser) -> None:
    assert browser.run("document.querySelector('.filter output').ariaLive") == "polite"
    assert browser.run(STATE) == "6 of 6 rows shown"
    tab_to(browser, "it.type === 'search'")
    for character in "thir":
        browser.press(character)
    assert browser.run(STATE) == "2 of 6 rows shown"
    assert browser.run(SHOWN) == 2
    browser.press("Enter")
    assert browser.run("location.hash + location.search") == "", "Enter sends nothing"
    tab_to(browser, "it.type === 'reset'")
    browser.press("Enter")
    browser.run("new Promise((done) => setTimeout(done, 20))")
    assert browser.run(STATE) == "6 of 6 rows shown"


def test_a_task_is_chosen(browser: Browser) -> None:
    choose = "(([it], value) => { it.value = value; it.dispatchEvent(new Event('input', { bubbles: true })); })"
    browser.run(f"{choose}(document.querySelectorAll('.filter select'), 'distance')")
    assert browser.run(STATE) == "3 of 6 rows shown"
    assert browser.run("[...document.querySelectorAll('.board')].filter((it) => it.offsetParent).length") == 1
    options = browser.run("[...document.querySelectorAll('.filter select')].map((it) => it.options.length)")
    assert options == [3, 2], "both tasks, one pack, and all"


@pytest.mark.parametrize("name", ["index.html", "data.html"])
@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_is_wider_than_its_window(running: Browser, pages: Path, name: str, width: int) -> None:
    running.open(pages / name, width, 844)
    running.run("document.querySelectorAll('details').forEach((it) => { it.open = true; })")
    assert running.run("innerWidth") == width
    assert running.run("document.documentElement.scrollWidth") <= width
    if width == 390 and name == "index.html":
        assert running.run(
            f"(({'{'}scrollWidth, clientWidth{'}'}) => scrollWidth > clientWidth)({RETRIEVAL}.querySelector('.scroll'))"
        ), "the table scrolls in its own frame"


@pytest.mark.parametrize("name", ["index.html", "data.html"])
def test_hostile_captions_run_nothing(running: Browser, pages: Path, name: str) -> None:
    running.open(pages / name)
    assert running.run("typeof window.canary") == "undefined"
    assert running.run("document.body.textContent.includes('window.canary = 1')"), "though they are there"
    assert running.run("document.querySelectorAll('img:not([src^=\"data:\"])').length") == 0
    assert running.complaints() == [], "no error, no refusal by the policy, nothing fetched"
    assert running.run("[...document.images].every((it) => it.complete && it.naturalWidth > 0)")


def test_the_policy_stops_what_would_slip_through(browser: Browser) -> None:
    """If a caption did become markup, the policy would stop it: the second line of defence holds by itself."""
    browser.run("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.canary = 3\">')")
    browser.run("document.body.append(Object.assign(document.createElement('script'), { text: 'window.canary = 4' }))")
    browser.run("new Promise((done) => setTimeout(done, 50))")
    assert browser.run("typeof window.canary") == "undefined"
    assert any("Content Security Policy" in text for text in browser.complaints())


def test_the_data_block_is_data(running: Browser, pages: Path) -> None:
    running.open(pages / "data.html")
    block = "JSON.parse(document.querySelector('script[type=\"application/ld+json\"]').textContent)"
    assert running.run(f"{block}['@type']") == "sc:Dataset"
    assert running.complaints() == []


def test_without_scripts_everything_is_there(tmp_path: Path, pages: Path) -> None:
    with chromium(tmp_path, "--blink-settings=scriptEnabled=false") as browser:
        browser.open(pages / "index.html", 390, 844)
        tree = browser.send("Accessibility.getFullAXTree")["nodes"]
    seen = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if not node["ignored"]]
    assert ("rowheader", "second") in seen and ("rowheader", "noise reference: shuffled") in seen
    assert any(role == "columnheader" and name.replace(" ", "") == RECALL for role, name in seen)
    assert not [name for role, name in seen if role in ("button", "searchbox", "combobox")], "no control without effect"
