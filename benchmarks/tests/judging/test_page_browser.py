"""People as judges, in a browser: by mouse, by keyboard, on a phone; nothing is lost when the server goes."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from judges import start
from zoo_bench.judging.server import Server
from zoo_bench.judging.study import Study

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--window-size=1100,800"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    """Debian's chromium, with a profile of its own; nothing may be written to its console."""
    from selenium import webdriver

    if not (CHROMIUM and DRIVER):
        pytest.skip("no chromium here (apt install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    said = driver.get_log("browser")
    driver.quit()
    assert not said


class Person:
    """Who sits before the page: looks, presses keys, moves the mouse."""

    def __init__(self, driver: Any, study: Study) -> None:
        from selenium.webdriver import ActionChains
        from selenium.webdriver.common.by import By
        from selenium.webdriver.common.keys import Keys
        from selenium.webdriver.support.ui import WebDriverWait

        self.driver, self.study, self.keys, self.by = driver, study, Keys, By
        self.act = lambda: ActionChains(driver, duration=60)
        self.wait = WebDriverWait(driver, 20, poll_frequency=0.03).until

    def see(self, selector: str) -> Any:
        return self.wait(
            lambda driver: next(
                (each for each in driver.find_elements(self.by.CSS_SELECTOR, selector) if each.is_displayed()), None
            )
        )

    def begin(self, url: str, name: str = "") -> None:
        self.driver.get(url)
        self.see("#name").send_keys(name + self.keys.ENTER)
        self.ready(0)

    def ready(self, answered: int) -> None:
        """Until the page has so many answers behind it, and the pictures of the next question are there."""
        script = "return !busy && document.getElementById('progress').textContent"
        self.wait(lambda driver: (driver.execute_script(script) or "").startswith(f"{answered} of"))
        assert self.study.counts()[0] == answered

    def press(self, *keys: str) -> None:
        self.act().send_keys(*keys).perform()

    def pictures(self) -> list[str]:
        """The ids of the pictures, as they stand on the page."""
        found = self.driver.find_elements(self.by.CSS_SELECTOR, "#arena img")
        return [each.get_attribute("src").rpartition("/")[2] for each in found]

    def alternatives(self) -> list[int]:
        """What the pictures are of: nothing that a person could see."""
        lookup = "SELECT alternatives, slot FROM images JOIN questions ON questions.id = question WHERE images.id = ?"
        rows = [self.study._rows(lookup, name)[0] for name in self.pictures()]
        return [json.loads(text)[slot] for text, slot in rows]


@pytest.fixture
def sits(browser: Any, make_study: Callable[..., Study]) -> Iterator[Callable[..., tuple[Person, Server]]]:
    servers = []

    def sit(**options: Any) -> tuple[Person, Server]:
        study = make_study(**options)
        servers.append(Server(study))
        threading.Thread(target=servers[-1].serve_forever, args=(0.02,), daemon=True).start()
        return Person(browser, study), servers[-1]

    yield sit
    browser.get("about:blank")
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.slow
def test_a_person_judges_by_mouse_and_reloads_in_the_middle(sits: Callable[..., tuple[Person, Server]]) -> None:
    person, server = sits(n=6)
    person.begin(server.url, "Ada")
    expected = []
    for i in range(6):
        left, right = person.alternatives()
        if i == 2:
            person.see("#tie").click()
            expected.append((tuple(sorted((left, right))), True))  # in a tie nobody is first
        else:
            person.driver.find_elements(person.by.CSS_SELECTOR, ".choice")[i % 2].click()
            expected.append(((left, right) if i % 2 == 0 else (right, left), False))
        if i < 5:
            person.ready(i + 1)
        if i == 3:
            before = person.pictures()
            person.driver.refresh()
            person.ready(4)
            assert person.pictures() == before
    assert "6 answers are saved" in person.see("#saved").text
    assert [(choice.order, choice.tie) for choice in person.study.choices()] == expected
    assert person.study._rows("SELECT name FROM judges") == [("Ada",)]
    person.see("#back").click()
    person.ready(5)


@pytest.mark.slow
def test_a_person_judges_by_keyboard(sits: Callable[..., tuple[Person, Server]]) -> None:
    person, server = sits(n=6)
    person.begin(server.url)
    expected = []
    keys = person.keys
    for i, key in enumerate([keys.ARROW_LEFT, keys.ARROW_RIGHT, keys.ARROW_DOWN, keys.ARROW_RIGHT]):
        left, right = person.alternatives()
        tie = key == keys.ARROW_DOWN
        order = sorted((left, right)) if tie else (right, left) if key == keys.ARROW_RIGHT else (left, right)
        expected.append((tuple(order), tie))
        person.press(key)
        person.ready(i + 1)
    assert [(choice.order, choice.tie) for choice in person.study.choices()] == expected
    person.press(keys.BACKSPACE)
    person.ready(3)
    person.press("u")
    person.ready(2)
    assert [(choice.order, choice.tie) for choice in person.study.choices()] == expected[:2]
    person.press(keys.TAB, keys.TAB, keys.ENTER)  # from the question: left, right; no arrow is needed
    person.ready(3)


@pytest.mark.slow
def test_a_person_ranks_by_dragging_and_by_keyboard(sits: Callable[..., tuple[Person, Server]]) -> None:
    person, server = sits(n=4, mode="ranking")
    person.begin(server.url, "Eve")
    one, two, three = person.alternatives()
    choices = person.driver.find_elements(person.by.CSS_SELECTOR, ".choice")
    person.act().drag_and_drop(choices[2], choices[0]).perform()
    assert person.alternatives() == [three, one, two]
    person.see("#done").click()
    person.ready(1)
    assert person.study.choices()[0].order == (three, one, two)

    one, two, three = person.alternatives()
    keys = person.keys
    person.press(keys.ARROW_RIGHT, keys.ARROW_DOWN)  # select the first, move it one place down
    assert person.alternatives() == [two, one, three]
    person.press(keys.ARROW_RIGHT, "1")  # select the last, make it the best
    assert person.alternatives() == [three, two, one]
    person.press(keys.ARROW_UP)  # it cannot be better
    person.press(keys.ENTER)
    person.ready(2)
    assert person.study.choices()[1].order == (three, two, one)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["contrast", "ranking"])
@pytest.mark.parametrize("width, ratio", [(360, 3), (390, 2), (1100, 1), (1100, 1.25)])
def test_pictures_are_sharp_and_fit_on_phones(
    sits: Callable[..., tuple[Person, Server]], mode: str, width: int, ratio: float
) -> None:
    person, server = sits(n=6, mode=mode)
    metrics = {"width": width, "height": 740, "deviceScaleFactor": ratio, "mobile": width < 500}
    person.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    person.begin(server.url)
    sizes = person.driver.execute_script(
        "return [...document.querySelectorAll('#arena img')].map((x) => [x.getBoundingClientRect().width, "
        "x.naturalWidth, getComputedStyle(x).imageRendering])"
    )
    for shown, natural, rendering in sizes:
        dots = shown * ratio / natural
        assert dots == pytest.approx(round(dots), abs=0.02) and dots >= 4 and rendering == "pixelated"
    assert len({tuple(size) for size in sizes}) == 1
    overflow = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert person.driver.execute_script(overflow) == 0


@pytest.mark.slow
def test_a_person_is_told_when_the_server_is_gone(tmp_path: Path, sample_files: list[str], browser: Any) -> None:
    db = tmp_path / "gone.sqlite"
    process, url = start(*sample_files, "--n", 12, "--db", db)
    person = Person(browser, Study(db))
    try:
        person.begin(url, "Ada")
        person.press(person.keys.ARROW_LEFT)
        person.ready(1)
        before = person.alternatives()
        process.kill()
        process.wait()
        person.press(person.keys.ARROW_LEFT)
        assert "All answers so far are saved" in person.see("#trouble").text
        process, url = start("--db", db)
        browser.get(url)  # another port: the cookie is known there too
        person.ready(1)
        assert person.alternatives() == before
    finally:
        process.kill()
        process.communicate()
    refused = [entry for entry in browser.get_log("browser") if "ERR_CONNECTION" not in entry["message"]]
    assert not refused
