"""The HTML report in a browser, by what a person does: mouse, keyboard, phone, light and dark."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from html_person import Person
from made_cards import HOSTILE, card, distance, entry, likelihood, many, png, saved, zoo_of_cards
from zoo_bench.cards import files
from zoo_bench.cards.types import Published, Training
from zoo_bench.reports import html as htmlreport

CHROMIUM, DRIVER = shutil.which("chromium") or shutil.which("chromium-browser"), shutil.which("chromedriver")
in_browser = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no chromium and chromedriver in PATH (Debian: chromium, chromium-driver)"
)
RESULTS = Path(__file__).parents[2] / "results" / "cards"
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage"
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of one card of each kind, with pictures, a curve, published values, people's scores and a hostile name."""
    folder = tmp_path_factory.mktemp("report")
    found = zoo_of_cards()
    theirs = Published(value=1.5, unit="bits/dim", protocol="other data", source="a paper")
    curve = Training(curve={"images": [1, 2, 3, 4], "loss": [4.0, 2.0, 1.5, 1.4]})
    found[0] = found[0].but(published=(theirs,), training=curve)
    found[1] = found[1].but(metrics=(*found[1].metrics, entry("bradley_terry", 0.4)))
    tighter = likelihood(0.9, "≤", method="iw-dequant-16")  # of the bounds
    found[2] = found[2].but(weaker_likelihoods=(tighter,))
    skipped = distance(None, "inception", reason="weights are missing").but(status="skipped")
    found.append(card(HOSTILE.replace("/", "|"), likelihood(2.9, "=", method=HOSTILE), skipped, family=HOSTILE))
    saved(found, folder)
    (folder / "cards" / "worse.digits.quick-v1-digits.seed0.png").write_bytes(png(200, (256, 256)))
    return htmlreport.write(files.read_all([folder]), folder / "report.html", [folder])


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of this repository's own cards of the quick suite, with their samples."""
    folder = tmp_path_factory.mktemp("results")
    (folder / "cards").mkdir()
    for file in RESULTS.glob("*.quick-v1-digits.seed0.*"):
        shutil.copy(file, folder / "cards")
    return htmlreport.write(files.read_all([folder]), folder / "report.html", [folder])


@pytest.fixture
def person(report: Path, tmp_path: Path) -> Iterator[Person]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in [*FLAGS.split(), f"--user-data-dir={tmp_path / 'profile'}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        person = Person(driver)
        person.window(1280)
        person.open(report)
        yield person
        assert person.faults() == []  # after every test
    finally:
        driver.quit()


@pytest.mark.slow
@in_browser
def test_sort_by_click_and_by_keyboard(person: Person) -> None:
    hostile = HOSTILE.replace("/", "|")
    start, aside = ["better", "worse", hostile, "alpha", "zeta", "ode", "gan"], ["training_images", "diluted", "given"]
    assert person.rows() == [*start, *aside]
    head = person.find('#leaderboard .board th[aria-sort="ascending"]')
    person.click(head.find_element("css selector", "button"))
    assert head.get_attribute("aria-sort") == "descending"
    assert person.rows() == [hostile, "worse", "better", *start[3:], *aside]  # bounds and estimates stay by name
    quality = person.find('#leaderboard .board button[aria-label^="Sort by fd_pixels (train)"]')
    person.script("arguments[0].focus()", quality)
    person.press(person.keys.ENTER)
    ordered = ["gan", "zeta", "worse", "ode", "better", "alpha"]
    assert person.rows() == [*ordered, hostile, *aside]
    assert head.get_attribute("aria-sort") is None
    assert quality.find_element("xpath", "..").get_attribute("aria-sort") == "ascending"
    person.press(person.keys.SPACE)
    assert person.rows() == [*ordered[::-1], hostile, *aside]
    assert "all rows of this key" in person.find("#leaderboard .order").text
    person.click(person.find('#leaderboard .board [data-sort="model"]'))
    assert person.rows() == [*sorted(start), *aside]


@pytest.mark.slow
@in_browser
def test_reference_rows_are_sorted_and_walked_through_among_themselves(person: Person) -> None:
    before = person.rows()
    models, others, _ = person.all("#leaderboard table.board")
    assert not others.find_elements("css selector", ".band, [aria-sort]")
    head = others.find_element("css selector", 'button[aria-label^="Sort by fd_pixels (train)"]')
    for order in (["training_images", "diluted"], ["diluted", "training_images"]):
        person.click(head)
        assert person.rows() == [*before[:7], *order, *before[9:]]
    band = others.find_element("css selector", ".band th")
    width = person.script("return [arguments[0].colSpan, arguments[1].tHead.rows[0].cells.length]", band, others)
    assert width[0] == width[1]
    assert len(models.find_elements("css selector", "[aria-sort]")) == 1
    for table in person.all("#leaderboard table.board"):
        assert len(table.find_elements("css selector", '.cell[tabindex="0"]')) == 1
    cells = others.find_elements("css selector", f'.cell[data-c="{head.get_attribute("data-sort")}"]')
    person.click(cells[1])
    for _ in range(2):  # the second time from the first row of the table
        person.press(person.keys.ARROW_UP)
        assert "diluted.digits: fd_pixels" in person.protocol()
        assert person.driver.switch_to.active_element == cells[0]


@pytest.mark.slow
@in_browser
def test_filter(person: Person) -> None:
    person.click(person.find('[name="model"]'))
    person.press("ETA")
    assert person.rows() == ["zeta"]
    assert person.find(".filters output").text == "1 of 10 rows"
    assert len(person.all("#scatter svg .mark-group")) == 1
    assert not person.find("#pictures .task").is_displayed()
    assert [heading.is_displayed() for heading in person.all("#leaderboard .part h4")] == [False, False]
    person.click(person.find('.filters button[type="reset"]'))
    person.until(lambda: len(person.rows()) == 10)
    person.find('[name="relation"]').send_keys("≤")
    person.until(lambda: person.rows() == ["alpha", "zeta", "diluted"])
    assert [heading.is_displayed() for heading in person.all("#leaderboard .part h4")] == [True, False]
    person.find('[name="family"]').send_keys("constr")
    person.until(lambda: person.rows() == ["diluted"])
    person.find('[name="relation"]').send_keys("= ex")
    person.until(lambda: person.find(".filters output").text == "No row passes this filter")


@pytest.mark.slow
@in_browser
def test_a_filter_that_a_browser_changes_by_itself(person: Person) -> None:
    """Filling a form in again, or a tool for it, may send `change` without `input`."""
    set_to = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('change', {bubbles: true}))"
    for name, value, left in (("family", "constructed", ["diluted"]), ("model", "no such", [])):
        person.script(set_to, person.find(f'.filters [name="{name}"]'), value)
        assert person.rows() == left


@pytest.mark.slow
@in_browser
def test_a_protocol_by_mouse(person: Person) -> None:
    assert person.protocol() == ""
    person.point(person.cell("better"))
    text = person.until(person.protocol)
    expected = card("better", likelihood(2.25, "="))
    assert expected.model.weights and expected.data and expected.task.sha256
    for part in (
        "better.digits: bits_per_dim",
        "= 2.2500 ± 0.0100 bits/dim",
        expected.metrics[0].comparable_key,
        expected.model.weights.sha256,
        expected.task.sha256,
        *expected.data.splits.values(),
        "log_prob",
        "zoo bench quick",
        "2.6.0",
    ):
        assert part in text
    person.point(person.find("#protocol h2"))  # the mouse may go onto it
    time.sleep(0.5)
    assert person.protocol()
    person.point(person.find("h1"))
    person.until(lambda: not person.protocol())
    cell = person.cell("worse", 0)
    person.click(cell)
    assert cell.get_attribute("aria-expanded") == "true"
    person.point(person.find("h1"))
    time.sleep(0.5)
    assert "worse.digits" in person.protocol()  # held by the click
    person.click(person.find("#protocol .close"))
    assert person.protocol() == ""
    assert cell.get_attribute("aria-expanded") == "false"
    person.click(person.cell("zeta"))
    text = person.protocol()
    assert "other likelihood, by iw-dequant-16" in text and "≤ 0.9" in text
    assert "weaker" not in text


@pytest.mark.slow
@in_browser
def test_a_protocol_by_keyboard(person: Person) -> None:
    person.script("document.querySelector('#leaderboard .board thead tr').lastElementChild.firstChild.focus()")
    person.press(person.keys.TAB)  # from the last heading into the table, where one value takes the focus
    assert "better.digits: bits_per_dim" in person.protocol()
    person.press(person.keys.ARROW_DOWN)
    assert "worse.digits: bits_per_dim" in person.protocol()
    person.press(person.keys.ARROW_RIGHT)
    assert "worse.digits: fd_pixels" in person.protocol()
    person.press(person.keys.ESCAPE)
    assert person.protocol() == ""
    focused = person.driver.switch_to.active_element
    assert focused.get_attribute("class") == "cell"
    person.press(person.keys.ENTER)
    assert "worse.digits: fd_pixels" in person.protocol()
    assert person.script("return document.activeElement.id") == "protocol"
    person.press(person.keys.ESCAPE)
    assert person.protocol() == ""
    assert person.driver.switch_to.active_element == focused


@pytest.mark.slow
@in_browser
def test_a_phone(person: Person, report: Path) -> None:
    person.window(390, 844, phone=True)
    person.open(report)
    assert person.script("return document.documentElement.scrollWidth") == 390
    board = person.find("#leaderboard .scroll")
    person.script("arguments[0].scrollLeft = 200", board)
    left = person.script("return arguments[0].querySelector('tbody tr[data-r] th').getBoundingClientRect().x", board)
    assert left == person.script("return arguments[0].getBoundingClientRect().x", board)  # the model stays in sight
    person.script("arguments[0].scrollLeft = 0", board)
    purposes = "[...document.querySelectorAll('#leaderboard .purpose')].map(x => x.getBoundingClientRect().right)"
    assert 0 < max(person.script(f"return {purposes}")) <= 390  # read without a swipe
    person.tap(person.cell("better"))
    assert "= 2.2500" in person.until(person.protocol)
    box = person.script(
        "const b = document.querySelector('#protocol').getBoundingClientRect(); return [b.x, b.right, b.bottom]"
    )
    assert box == [0, 390, 844]
    person.tap(person.find("#protocol .close"))
    person.until(lambda: not person.protocol())
    person.tap(person.cell("worse"))
    person.until(person.protocol)
    person.tap(person.find("#leaderboard h2"), "start")  # above the sheet
    person.until(lambda: not person.protocol())
    for width in (320, 390, 640, 768):
        person.window(width, 844, phone=True)
        person.until(lambda: person.script("return document.documentElement.scrollWidth <= innerWidth"))


@pytest.mark.slow
@in_browser
@pytest.mark.parametrize("dark", [False, True])
def test_the_first_screen_of_a_phone(person: Person, results: Path, dark: bool) -> None:
    """Real images beside samples, and below them the first row of the leaderboard with what is looked for first."""
    person.window(390, 844, phone=True, dark=dark)
    person.open(results)
    paper = person.script("return getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, re.findall(r"\d+", paper))) < 60) == dark
    box = "const b = arguments[0].getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]"
    pictures = person.all("#leaderboard .strip img")
    assert [picture.get_attribute("alt").partition(":")[0] for picture in pictures[:2]] == ["real images", "samples"]
    for picture in pictures[:2]:
        person.until(lambda picture=picture: person.script("return arguments[0].naturalWidth", picture) == 265)
        left, top, right, bottom = person.script(box, picture)
        assert 0 <= left < right <= 390 and 0 < top < bottom
    row = person.find("#leaderboard .board tr[data-r]")
    assert bottom < person.script(box, row)[1] and person.script(box, row)[3] < 844
    heads = [head.text.split("\n")[0] for head in person.all("#leaderboard .board th.number")[:2]]
    assert heads == ["bits_per_dim↓", "fd_pixels↓"]
    left, _, right, _ = person.script(box, row.find_elements("css selector", ".cell")[1])
    assert 0 < left < right <= 390  # both of them without a swipe
    scrolls = "const x = arguments[0]; x.scrollLeft = 300; return [x.scrollLeft, scrollX, document.body.scrollWidth]"
    for wide in ("#leaderboard .strip", "#leaderboard .scroll", "nav ul"):
        assert person.script(scrolls, person.find(wide))[1:] == [0, 390], wide
    assert person.script(scrolls, person.find("#leaderboard .scroll"))[0] == 300
    name = person.find("#leaderboard .board tr[data-r] th")
    assert person.script(box, name)[0] == 16  # the model's name stays


@pytest.mark.slow
@in_browser
def test_filters_fold_on_a_phone(person: Person, report: Path) -> None:
    person.window(390, 844, phone=True)
    person.open(report)
    assert not person.find('[name="model"]').is_displayed()
    person.tap(person.find(".unfold"))
    person.until(lambda: person.find('[name="model"]').is_displayed())
    person.find('[name="model"]').send_keys("zeta")
    assert person.rows() == ["zeta"]
    person.tap(person.find(".unfold"))
    person.until(lambda: not person.find('[name="model"]').is_displayed())
    assert person.rows() == ["zeta"] and "1 of" in person.find(".filters output").text


@pytest.mark.slow
@in_browser
def test_a_sample_leads_to_all_samples_and_real_images_stay(person: Person, results: Path) -> None:
    person.open(results)
    person.click(person.find('#leaderboard .strip [data-model="made.digits"] a'))
    target = person.find("#pictures figure:target")
    assert target.get_attribute("data-model") == "made.digits"
    person.until(lambda: person.script("return arguments[0].querySelector('img').naturalWidth", target) == 265)
    person.click(person.find('[name="model"]'))
    person.press("made.d")
    shown = [figure for figure in person.all("#leaderboard .strip figure") if figure.is_displayed()]
    assert [figure.text for figure in shown] == ["real images", "made"]
    person.press("no such")
    assert not person.find("#leaderboard .strip").is_displayed()


@pytest.mark.slow
@in_browser
def test_light_and_dark(person: Person, report: Path) -> None:
    paper = "return getComputedStyle(document.body).backgroundColor"
    light = person.script(paper)
    person.click(person.find("#theme"))
    dark = person.script(paper)
    assert dark != light
    assert person.find("#theme").get_attribute("aria-pressed") == "true"
    person.open(report)
    assert person.script(paper) == dark  # it is remembered
    person.click(person.find("#theme"))
    assert person.script(paper) == light
    person.script("localStorage.clear()")
    person.window(1280, dark=True)
    person.open(report)
    assert person.script(paper) == dark  # as the system says


@pytest.mark.slow
@in_browser
def test_charts_and_pictures(person: Person) -> None:
    marks = person.all("#scatter svg .mark-group")
    said = [mark.get_attribute("aria-label") for mark in marks]
    assert len(marks) == 8  # every row with a distance to the training set
    assert sum("no bits_per_dim" in text for text in said) == 2  # in the margin
    assert len(person.all("#scatter .margin")) == 1
    assert len(person.all("#scatter svg .special .ring")) == 2
    person.point(marks[0])
    text = person.until(person.protocol)
    assert "bits_per_dim" in text
    assert "fd_pixels" in text
    person.press(person.keys.ESCAPE)
    person.script("arguments[0].focus()", person.show(marks[0]))
    person.press(person.keys.ARROW_RIGHT, person.keys.ENTER)
    assert said[1].split(":")[0] in person.protocol()
    person.press(person.keys.ESCAPE)
    from selenium.webdriver.support.select import Select

    Select(person.find('#scatter [data-axis="y"]')).select_by_visible_text("fd_pixels (test)")
    person.until(lambda: len(person.all("#scatter svg .mark-group")) == 1)
    costs = Select(person.find('#cost [data-axis="x"]'))
    costs.select_by_visible_text("sampling [images/s]")
    assert person.until(lambda: person.find("#cost .canvas h4").text) == "cpu, 2 threads, torch 2.6.0"
    picture = person.show(person.find("#pictures img"))
    person.until(lambda: person.script("return arguments[0].naturalWidth", picture) == 256)
    person.show(person.find("#training figure"))
    (line,) = person.until(lambda: person.all("#training svg path.line"))  # drawn when it comes near the window
    assert line.get_attribute("d").count("L") == 3


@pytest.mark.slow
@in_browser
def test_no_card_runs_a_program(person: Person) -> None:
    person.click(person.cell(HOSTILE.replace("/", "|").replace('"', '\\"')))
    assert "<img src=x onerror=alert(1)>" in person.protocol()
    assert person.driver.title == "zoo: result cards"
    assert not person.all("img[onerror]")
    program = "const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s)"
    person.script(program)
    assert person.script("return window.ran") is None  # by the page's own policy
    person.script("fetch('https://example.org').catch(() => { window.refused = true })")
    person.until(lambda: person.script("return window.refused"))
    assert [entry for entry in person.driver.get_log("browser") if "Content Security Policy" in entry["message"]]


@pytest.mark.slow
@in_browser
def test_500_cards_open_sort_and_filter(person: Person, tmp_path: Path) -> None:
    folder = many(tmp_path / "many")
    path = htmlreport.write(files.read_all([folder]), tmp_path / "many.html", [folder])
    began = time.monotonic()
    person.open(path)
    assert time.monotonic() - began < 10
    first = "#leaderboard table.board"
    seconds = person.script(
        f"const t = performance.now(); document.querySelector('{first} [data-sort=\"1\"]').click(); "
        "return (performance.now() - t) / 1000"
    )
    assert seconds < 1
    texts = person.script(
        f'return [...document.querySelectorAll(\'{first}[data-t="0"] .cell[data-c="1"]\')].map(x => x.textContent)'
    )
    values = [float(text.split()[0]) for text in texts]
    assert len(values) == 100
    assert values == sorted(values)
    person.click(person.find('[name="model"]'))
    person.press("model123")
    assert person.rows() == ["model123"]
