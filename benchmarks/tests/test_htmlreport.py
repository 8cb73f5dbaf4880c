"""The HTML report: nothing incomparable is ranked, every number carries its protocol, and no card can run a program."""

from __future__ import annotations

import base64
import copy
import hashlib
import io
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from zoo_bench import cards, htmlreport
from zoo_bench.page import embedded

from zoo_core import ZooError

TASK = "quick@1/digits"
HOSTILE = "</script><script>document.title='run'</script><img src=x onerror=alert(1)>\"'&{{data}}"


def entry(
    name: str, value: float | None, relation: str | None = None, given: str = "none", **params: Any
) -> dict[str, Any]:
    unit = {"bits_per_dim": "bits/dim", "nats": "nats/image"}.get(name, "")
    interval = None if value is None else {"level": 0.95, "method": "normal", "n": 300, "low": value - 0.01}
    interval = interval and {**interval, "high": value + 0.01}
    reference = params.get("reference")
    identity = {"task": TASK, "conditioning": given, "n": 300, "reference": reference}
    higher = name in ("precision", "bradley_terry")
    return cards.metric(
        name,
        1,
        value,
        unit=unit,
        relation=relation,
        interval=interval,
        identity=identity,
        higher_is_better=higher,
        **params,
    )


def likelihood(value: float | None, relation: str, given: str = "none", **params: Any) -> dict[str, Any]:
    return entry("bits_per_dim", value, relation, given, **{"method": "log_prob", **params})


def distance(value: float | None, reference: str = "train", **params: Any) -> dict[str, Any]:
    return entry("fd_pixels", value, reference=reference, **params)


def card(model: str, *metrics: dict[str, Any], family: str = "mixture", seed: int = 0, **fields: Any) -> cards.Card:
    made: cards.Card = {
        "schema_version": 1,
        "status": "ok",
        "error": None,
        "partial": False,
        "task": {"id": TASK, "version": 1, "sha256": "4" * 64},
        "model": {
            "name": model,
            "tag": "digits",
            "plugin": "zoo-test",
            "plugin_version": "0.1.0",
            "family": family,
            "config": {"hidden": [16, 16]},
            "conditioning": "none",
            "params": 4321,
            "weights": {"source": "recipe", "sha256": hashlib.sha256(model.encode()).hexdigest(), "kind": "ema"},
            "images_seen": 20_000,
            "training_device": "cpu",
            "training_seconds": 3.5,
        },
        "data": {
            "name": "digits",
            "split": "test",
            "sha256": "5" * 64,
            "n": 300,
            "splits": {"test": "5" * 64, "train": "6" * 64},
            "shape": [1, 8, 8],
            "levels": 17,
        },
        "sampling": {"n": 1000, "seed": seed, "chunk": 100, "sampler": "default", "sha256": "7" * 64},
        "metrics": list(metrics),
        "weaker_likelihoods": [],
        "performance": {"sampling_images_per_second": 1234.5, "peak_memory_mb": 300},
        "environment": {"python": "3.11.7", "packages": {"torch": "2.6.0"}, "device": "cpu", "threads": 2},
        "published": [],
        "command": "zoo bench quick",
    }
    return {**made, **fields}


def zoo_of_cards() -> list[cards.Card]:
    """One of each kind. The bounds are lower than the exact values, in the wrong order, and not to be ranked."""
    given = card("given", likelihood(0.5, "=", "class"), family="autoregressive")
    given["model"]["conditioning"] = "class"
    return [
        card("worse", likelihood(2.5, "="), distance(0.2)),
        card("better", likelihood(2.25, "="), distance(0.7), distance(0.8, "test")),
        card("zeta", likelihood(1.0, "≤", method="elbo-16"), distance(0.1), family="autoencoder"),
        card("alpha", likelihood(1.5, "≤", method="elbo-16"), distance(9.0), family="autoencoder"),
        card("ode", likelihood(1.2, "≈"), distance(0.3), family="score"),
        card("gan", distance(0.05), family="gan"),
        given,
        card("training_images", distance(0.01), family="floor"),
        card("diluted", likelihood(2.3, "≤"), distance(10.0), family="constructed"),
    ]


def saved(found: list[cards.Card], folder: Path) -> Path:
    for one in found:
        cards.write(one, folder / "cards")
    return folder


class Page(HTMLParser):
    """What a browser would make of the page, as far as these tests ask."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.text = ""
        self.lines: list[tuple[str, list[str]]] = []  # (class of the row, its cells)
        self._inside: str | None = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            (self.scripts if tag == "script" else self.styles).append("")
            self._inside = tag
        if tag == "tr":
            self.lines.append((dict(attrs).get("class") or "", []))
        if tag in ("td", "th") and self.lines:
            self.lines[-1][1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = None

    def handle_data(self, text: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += text
        elif self._inside == "style":
            self.styles[-1] += text
        else:
            self.text += text
            if self.lines and self.lines[-1][1]:
                self.lines[-1][1][-1] += text

    @property
    def data(self) -> dict[str, Any]:
        return dict(json.loads(self.scripts[0]))

    def attributes(self, name: str) -> list[str]:
        return [value or "" for _, attributes in self.tags for key, value in attributes.items() if key == name]


def board(page: Page) -> list[tuple[str, list[str]]]:
    """The rows of the first leaderboard: what they are (`band` or nothing) and their cells."""
    end = next((i for i, (_, cells) in enumerate(page.lines) if i and cells[0] == "model"), None)
    return page.lines[1:end]


def groups(page: Page) -> dict[str, list[str]]:
    """The bands of the first leaderboard and the models below each, in order."""
    found: dict[str, list[str]] = {}
    for kind, cells in board(page):
        if kind == "band":
            found[cells[0]] = []
        else:
            found[list(found)[-1]].append(cells[0].split(".digits")[0])
    return found


def test_only_exact_values_of_one_key_are_ordered() -> None:
    found = groups(Page(htmlreport.page(zoo_of_cards())))
    assert found["exact values (=), in order"] == ["better", "worse"]
    assert found["upper bounds (≤), by name: bounds are not ordered"] == ["alpha", "diluted", "zeta"]
    assert found["estimates (≈), by name: not ordered"] == ["ode"]
    # A likelihood given labels is another key: however low, it is not among the exact values of this one.
    assert found["no value under this key, by name"] == ["gan", "given", "training_images"]


def test_a_column_is_a_key_and_a_metric_where_more_is_better_is_ordered_downwards() -> None:
    found = [card("low", entry("precision", 0.2, "=")), card("high", entry("precision", 0.9, "="))]
    page = Page(htmlreport.page(found))
    assert groups(page)["exact values (=), in order"] == ["high", "low"]
    assert "descending" in page.attributes("aria-sort")
    (task,) = Page(htmlreport.page(zoo_of_cards())).data["tasks"]
    keys = [column["key"] for column in task["columns"]]
    assert len(keys) == len(set(keys)) == 4
    for row in task["rows"]:
        for number, cell in row["cells"].items():
            assert (task["columns"][int(number)]["id"] == "bits_per_dim") == ("relation" in cell)


def test_every_cell_carries_its_whole_protocol() -> None:
    found = zoo_of_cards()
    found[2]["weaker_likelihoods"] = [likelihood(1.4, "≤", method="elbo-1", chunk=100)]
    data = Page(htmlreport.page(found)).data
    (task,) = data["tasks"]
    by_key = {one["model"]["name"]: one for one in found}
    for row in task["rows"]:
        mine = by_key[row["name"]]
        shown = data["cards"][row["cards"][0]]
        assert len(row["cells"]) == len(mine["metrics"])
        for number, cell in row["cells"].items():
            column = task["columns"][int(number)]
            (original,) = [one for one in mine["metrics"] if one["comparable_key"] == column["key"]]
            assert (cell["value"], cell["params"], cell["interval"]) == tuple(
                original[key] for key in ("value", "params", "interval")
            )
            assert (column["id"], column["version"]) == (original["id"], original["version"])
        assert shown["model"]["weights"] == mine["model"]["weights"]
        assert shown["command"] == mine["command"]
        assert data["tasks_of_cards"][shown["task"]] == mine["task"]
        assert data["data"][shown["data"]] == mine["data"]
        assert data["environments"][shown["environment"]] == mine["environment"]
    assert len(data["environments"]) == 1
    (zeta,) = [row for row in task["rows"] if row["name"] == "zeta"]
    assert zeta["cells"][str(task["lead"])]["weaker"] == [["≤", 1.4, "elbo-1"]]


def test_what_is_missing_says_why() -> None:
    skipped = {**distance(None, reason="weights of inception are missing: inception.pth"), "status": "skipped"}
    infinite = likelihood(None, "=", reason="3 of 300 images have no probability at all")
    broken = {**card("broken"), "status": "failed", "error": "loss is nan"}
    part = {**card("part", likelihood(1.0, "=")), "partial": True}
    page = Page(htmlreport.page([card("a", skipped, infinite), card("b", likelihood(2.0, "=")), broken, part]))
    lines = {cells[0]: cells for _, cells in board(page)}
    assert "skipped: weights of inception are missing: inception.pth" in lines["a.digits"]
    assert "failed: 3 of 300 images have no probability at all" in lines["a.digits"]
    assert "not measured" in lines["b.digits"]
    assert groups(page)["exact values (=), in order"] == ["b", "a"]
    assert "broken.digits: failed: loss is nan" in page.text
    assert "part.digits: partial, so in no table" in page.text
    assert "part.digits" not in lines


def test_constructed_rows_and_the_floor_are_marked() -> None:
    lines = {cells[0].split(".")[0]: cells[0] for _, cells in board(Page(htmlreport.page(zoo_of_cards())))}
    assert lines["diluted"].endswith("constructed")
    assert lines["training_images"].endswith("floor")
    assert lines["gan"] == "gan.digits"


def test_published_values_stand_beside_ours_and_in_no_ranked_column() -> None:
    published = [
        {"value": 84.87, "unit": "bits/dim", "protocol": "dynamic binarisation", "source": "https://example.org/a?b=1&c=2"},
        {"value": 1, "unit": "nats", "protocol": HOSTILE, "source": "javascript:alert(1)"},
    ]  # fmt: skip
    page = Page(htmlreport.page([card("a", likelihood(2.0, "="), published=published)]))
    (line,) = [cells for _, cells in page.lines if "84.87" in cells]
    assert line == [
        "a.digits",
        "= 2.0000 ± 0.0100",
        "84.87",
        "bits/dim",
        "dynamic binarisation",
        published[0]["source"],
    ]
    assert published[0]["source"] in page.attributes("href")
    assert not [href for href in page.attributes("href") if href.startswith("javascript")]
    (task,) = page.data["tasks"]
    assert len(task["columns"]) == 1


def test_seeds_are_one_row_with_each_value_in_its_protocol() -> None:
    found = [card("gan", distance(value), seed=seed, family="gan") for seed, value in enumerate([0.1, 0.2, 0.3])]
    page = Page(htmlreport.page(found))
    (task,) = page.data["tasks"]
    (row,) = task["rows"]
    assert row["cells"]["0"]["value"] == pytest.approx(0.2)
    assert row["cells"]["0"]["seeds"] == [[0, 0.1], [1, 0.2], [2, 0.3]]
    assert len(row["cards"]) == 3
    assert any("3 seeds" in cell for _, cells in page.lines for cell in cells)


def test_rows_of_one_name_are_told_apart() -> None:
    one, other = card("made", likelihood(2.0, "=")), card("made", likelihood(2.1, "="))
    other["model"]["weights"] = {"source": "runs/made", "sha256": "b" * 64}
    page = Page(htmlreport.page([one, other]))
    assert {cells[0] for kind, cells in page.lines if not kind} == {
        "model",
        "made.digits bbbbbbbb",
        f"made.digits {one['model']['weights']['sha256'][:8]}",
    }
    assert len({row["label"] for row in page.data["tasks"][0]["rows"]}) == 2


def test_peoples_scores_have_a_table_of_their_own() -> None:
    found = [
        card("a", distance(0.1), entry("bradley_terry", 0.3, question="which is real?")),
        card("b", distance(0.2), entry("bradley_terry", 1.5, question="which is real?")),
    ]
    text = htmlreport.page(found)
    board, judges = text.split('id="h-judges"')
    assert "bradley" not in board.split("<main>")[1]
    assert 'aria-label="Human judgement of quick@1/digits' in judges
    lines = [cells for kind, cells in Page(judges).lines if kind != "band"]
    assert [cells[:2] for cells in lines[1:3]] == [["b.digits", "1.5000 ± 0.0100"], ["a.digits", "0.3000 ± 0.0100"]]
    assert '<section id="judges" aria-labelledby="h-judges" hidden>' in htmlreport.page(zoo_of_cards())


def test_an_interval_that_is_not_symmetric_is_given_by_its_ends() -> None:
    lopsided = distance(0.5)
    lopsided["interval"] |= {"low": 0.4, "high": 0.9}
    lines = board(Page(htmlreport.page([card("a", lopsided), card("b", distance(0.5))])))
    assert [cells[1] for kind, cells in lines if not kind] == ["0.5000 [0.4000, 0.9000]", "0.5000 ± 0.0100"]


def test_a_task_of_judges_alone_stands_in_their_section_only() -> None:
    judged = card("a", entry("plackett_luce", 0.3))
    judged["task"]["id"] = "judge@1/digits"
    page = htmlreport.page([judged, card("b", likelihood(2.0, "="))])
    board, judges = page.split('id="h-judges"')
    assert "judge@1/digits</h3>" not in board
    assert "judge@1/digits</h3>" in judges


def test_nothing_a_card_says_becomes_markup_or_program() -> None:
    hostile = card(HOSTILE, likelihood(2.0, "=", method=HOSTILE, **{HOSTILE: HOSTILE}), family=HOSTILE)
    hostile["model"]["tag"] = hostile["command"] = hostile["task"]["id"] = hostile["environment"]["device"] = HOSTILE
    hostile["published"] = [{"value": HOSTILE, "unit": "bits/dim", "protocol": HOSTILE, "source": HOSTILE}]
    broken = {**copy.deepcopy(hostile), "status": "failed", "error": HOSTILE}
    text = htmlreport.page([hostile, broken])
    page, plain = Page(text), Page(htmlreport.page([card("a", likelihood(2.0, "="))]))
    assert len(page.scripts) == len(plain.scripts) == 2
    assert page.scripts[1] == plain.scripts[1]
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert {tag for tag, _ in page.tags} - {tag for tag, _ in plain.tags} <= {"ul", "li", "h4", "code", "optgroup"}
    (task,) = page.data["tasks"]
    assert task["rows"][0]["name"] == HOSTILE
    assert task["rows"][0]["cells"]["0"]["params"][HOSTILE] == HOSTILE


def test_json_inside_a_page_is_safe_and_whole() -> None:
    value = {"a": ["</script>", "<!--", "\u2028", "ü≤"]}
    assert "<" not in embedded(value)
    assert json.loads(embedded(value)) == value
    with pytest.raises(ValueError, match="JSON compliant"):
        embedded({"a": float("nan")})


def test_the_page_is_one_file_that_fetches_nothing() -> None:
    page = Page(htmlreport.page(zoo_of_cards()))
    assert not page.attributes("src")
    assert not [tag for tag, _ in page.tags if tag in ("link", "iframe", "object", "embed", "base")]
    links = [attributes["href"] or "" for tag, attributes in page.tags if "href" in attributes]
    assert all(link.startswith(("#", "https://arxiv.org/")) for link in links)
    assert not re.search(r"url\(|@import|@font-face", page.styles[0])
    assert not re.search(r"\bfetch\(|XMLHttpRequest|import\(|innerHTML|insertAdjacentHTML|\beval\(", page.scripts[1])
    (policy,) = [a["content"] or "" for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    for kind, text in (("script", page.scripts[1]), ("style", page.styles[0])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert not page.attributes("style")  # the policy would refuse it


def test_ids_are_unique_and_references_exist() -> None:
    page = Page(htmlreport.page(zoo_of_cards()))
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    wanted = {*page.attributes("aria-labelledby"), *(href[1:] for href in page.attributes("href") if href[0] == "#")}
    assert wanted - {"protocol-title"} <= set(ids)  # which page.js writes


def png(colour: int, size: tuple[int, int] = (16, 16)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (colour, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def test_pictures_beside_a_card_are_in_the_page_once(tmp_path: Path) -> None:
    folder = saved(zoo_of_cards()[:3], tmp_path) / "cards"
    (folder / "worse.digits.png").write_bytes(png(1))
    (folder / "better.digits.png").write_bytes(png(1))
    (folder / "better.digits.neighbours.png").write_bytes(png(2, (40, 10)))
    (folder / "better.digits.heatmap.png").write_bytes(b"no picture")
    (tmp_path / "quick-v1-digits.heatmaps.png").write_bytes(png(3))
    page = Page(htmlreport.page(cards.read_all([tmp_path]), [tmp_path]))
    assert sorted(page.data["images"].values()) == sorted(
        "data:image/png;base64," + base64.b64encode(png(colour, size)).decode()
        for colour, size in [(1, (16, 16)), (2, (40, 10)), (3, (16, 16))]
    )
    assert len(page.attributes("data-image")) == 4
    assert "nearest training images: better.digits on quick@1/digits" in page.attributes("alt")
    assert "1 picture left out" in page.text


def test_a_card_without_its_file_has_no_pictures(tmp_path: Path) -> None:
    found = zoo_of_cards()[:1]
    folder = saved(found, tmp_path) / "cards"
    (folder / "worse.digits.png").write_bytes(png(1))
    found[0]["metrics"][0]["value"] = 1.0  # another card than the one that lies beside the picture
    assert Page(htmlreport.page(found, [tmp_path])).data["images"] == {}
    elsewhere = card("../cards/worse", likelihood(1.0, "="))
    assert Page(htmlreport.page([elsewhere], [tmp_path])).data["images"] == {}


def test_large_pictures_become_smaller(tmp_path: Path) -> None:
    folder = saved(zoo_of_cards()[:1], tmp_path) / "cards"
    noise = np.random.default_rng(0).integers(0, 256, (600, 1600, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "worse.digits.heatmap.png")
    page = Page(htmlreport.page(cards.read_all([tmp_path]), [tmp_path]))
    (content,) = page.data["images"].values()
    assert len(content) < (folder / "worse.digits.heatmap.png").stat().st_size / 2
    with Image.open(io.BytesIO(base64.b64decode(content.partition(",")[2]))) as image:
        assert image.size == (1200, 450)


def test_training_curves_are_of_these_very_weights(tmp_path: Path) -> None:
    found = zoo_of_cards()[:2]
    saved(found, tmp_path)
    lines = [{"images": 10 * i, "seconds": i, "loss": 1 / i, "sometimes": 1 if i > 1 else None} for i in range(1, 1000)]
    for one, sha256 in zip(found, [found[0]["model"]["weights"]["sha256"], "other"]):
        run = tmp_path / "runs" / f"{one['model']['name']}.digits"
        (run / "weights").mkdir(parents=True)
        (run / "weights" / "config.json").write_text(json.dumps({"sha256": sha256}))
        (run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"images": 1')
    (task,) = Page(htmlreport.page(cards.read_all([tmp_path / "cards"]), [tmp_path / "cards"])).data["tasks"]
    curves = {row["name"]: row["curve"] for row in task["rows"]}
    assert curves["better"] is None
    assert set(curves["worse"]) == {"images", "loss"}
    assert len(curves["worse"]["loss"]) == len(curves["worse"]["images"]) <= 160
    assert curves["worse"]["images"] == sorted(curves["worse"]["images"])
    assert np.mean(curves["worse"]["loss"]) == pytest.approx(np.mean([line["loss"] for line in lines]), rel=0.05)


def test_the_spread_over_images_is_of_the_file_that_the_card_names(tmp_path: Path) -> None:
    nats = -np.linspace(50, 150, 101) * np.log(2)
    buffer = io.BytesIO()
    np.save(buffer, nats)
    for content, expected in ((buffer.getvalue(), 100 / 64), (buffer.getvalue() + b"x", None)):
        sha256 = hashlib.sha256(buffer.getvalue()).hexdigest()
        one = card("a", likelihood(2.0, "="), nats_file={"name": "a.digits.nats.npy", "sha256": sha256})
        saved([one], tmp_path)
        (tmp_path / "cards" / "a.digits.nats.npy").write_bytes(content)
        (shown,) = Page(htmlreport.page([one], [tmp_path])).data["cards"]
        assert shown.get("spread", {}).get("50 %") == (None if expected is None else round(expected, 4))


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="no result cards"):
        htmlreport.write([], tmp_path / "report.html", [tmp_path])
    folder = saved(zoo_of_cards()[:1], tmp_path) / "cards"
    (folder / "newer.seed0.json").write_text(json.dumps({**card("newer"), "schema_version": 99}))
    with pytest.raises(ZooError, match="schema 99"):
        htmlreport.write(cards.read_all([tmp_path]), tmp_path / "report.html", [tmp_path])
    (folder / "newer.seed0.json").write_text(json.dumps(card("worse", likelihood(1.0, "="))))
    with pytest.raises(ZooError, match="two cards of one result"):
        htmlreport.write(cards.read_all([tmp_path]), tmp_path / "report.html", [tmp_path])
    assert not (tmp_path / "report.html").exists()


def many(folder: Path, n: int = 500) -> Path:
    """n cards of 5 tasks, each with a grid of samples and the nats of its images."""
    random = np.random.default_rng(0)
    for i in range(n):
        value = float(random.uniform(1, 3))
        relation = "=≤≈"[i % 3]
        metrics = [likelihood(value, relation), *(distance(float(random.uniform(0, 9)), r) for r in ("train", "test"))]
        one = card(f"model{i:03d}", *metrics, family=f"family{i % 7}")
        one["task"]["id"] = f"suite@1/task{i % 5}"
        buffer = io.BytesIO()
        np.save(buffer, random.uniform(-100, -50, 10_000))
        name = f"model{i:03d}.digits"
        one["nats_file"] = {"name": f"{name}.nats.npy", "sha256": hashlib.sha256(buffer.getvalue()).hexdigest()}
        cards.write(one, folder / "cards")
        (folder / "cards" / f"{name}.nats.npy").write_bytes(buffer.getvalue())
        picture = random.integers(0, 256, (64, 64), dtype=np.uint8)
        Image.fromarray(picture).resize((256, 256), Image.Resampling.NEAREST).save(folder / "cards" / f"{name}.png")
    return folder


def test_500_cards_take_less_than_5_seconds(tmp_path: Path) -> None:
    folder = many(tmp_path)
    began = time.process_time()  # of this process: on an idle machine the time that passes
    path = htmlreport.write(cards.read_all([folder]), tmp_path / "report.html", [folder])
    assert time.process_time() - began < 5
    page = Page(path.read_text())
    assert sum(len(task["rows"]) for task in page.data["tasks"]) == len(page.data["images"]) == 500


def test_text_has_contrast_in_light_and_in_dark() -> None:
    (style,) = Page(htmlreport.page(zoo_of_cards())).styles
    colours = dict(re.findall(r"--(\w+): light-dark\((#\w+, #\w+)\)", style))
    for theme in (0, 1):
        shade = {name: _luminance(pair.split(", ")[theme]) for name, pair in colours.items()}
        for text in ("ink", "soft", "accent", "warm", "bad"):
            for paper in ("paper", "raised", "quiet", "wash"):
                assert _contrast(shade[text], shade[paper]) >= 4.5, (text, paper, theme)
        assert _contrast(shade["strong"], shade["paper"]) >= 3  # borders of controls


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: float, other: float) -> float:
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


# In a browser, by what a person does

CHROMIUM, DRIVER = shutil.which("chromium") or shutil.which("chromium-browser"), shutil.which("chromedriver")
in_browser = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no chromium and chromedriver in PATH (Debian: chromium, chromium-driver)"
)
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage"
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of one card of each kind, with pictures, a curve, published values, people's scores and a hostile name."""
    folder = tmp_path_factory.mktemp("report")
    found = zoo_of_cards()
    found[0]["published"] = [{"value": 1.5, "unit": "bits/dim", "protocol": "other data", "source": "a paper"}]
    found[0]["training"] = {"curve": {"images": [1, 2, 3, 4], "loss": [4.0, 2.0, 1.5, 1.4]}}
    found[1]["metrics"].append(entry("bradley_terry", 0.4))
    skipped = {**distance(None, "inception", reason="weights are missing"), "status": "skipped"}
    found.append(card(HOSTILE.replace("/", "|"), likelihood(2.9, "=", method=HOSTILE), skipped, family=HOSTILE))
    saved(found, folder)
    (folder / "cards" / "worse.digits.png").write_bytes(png(200, (256, 256)))
    return htmlreport.write(cards.read_all([folder]), folder / "report.html", [folder])


class Person:
    """A browser and the hands on it."""

    def __init__(self, driver: Any) -> None:
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.common.keys import Keys

        self.driver, self.keys = driver, Keys
        self._chains = ActionChains

    def open(self, path: Path) -> None:
        self.driver.get(path.as_uri())
        self.until(lambda: self.script("return document.documentElement.dataset.ready") == "true")

    def script(self, text: str, *arguments: Any) -> Any:
        return self.driver.execute_script(text, *arguments)

    def find(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def all(self, selector: str) -> list[Any]:
        return list(self.driver.find_elements("css selector", selector))

    def show(self, element: Any, block: str = "center") -> Any:
        how = {"block": block, "inline": "center", "behavior": "instant"}
        self.script("arguments[0].scrollIntoView(arguments[1])", element, how)
        return element

    def click(self, element: Any) -> None:
        self._chains(self.driver).move_to_element(self.show(element)).click().perform()

    def point(self, element: Any) -> None:
        self._chains(self.driver).move_to_element(self.show(element)).perform()

    def press(self, *keys: str) -> None:
        self._chains(self.driver).send_keys(*keys).perform()

    def tap(self, element: Any, block: str = "center") -> None:
        box = self.script(
            "const b = arguments[0].getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]",
            self.show(element, block),
        )
        point = [{"x": box[0], "y": box[1]}]
        self.command("Input.dispatchTouchEvent", type="touchStart", touchPoints=point)
        self.command("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def command(self, name: str, **parameters: Any) -> Any:
        return self.driver.execute_cdp_cmd(name, parameters)

    def window(self, width: int, height: int = 800, *, phone: bool = False, dark: bool = False) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self.command("Emulation.setDeviceMetricsOverride", **size)
        self.command("Emulation.setTouchEmulationEnabled", enabled=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", features=[scheme])

    def until(self, holds: Callable[[], Any], seconds: float = 5) -> Any:
        end = time.monotonic() + seconds
        while not (answer := holds()):
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.03)
        return answer

    def rows(self) -> list[str]:
        """The models of the first leaderboard, as they are seen from top to bottom."""
        lines = "[...document.querySelectorAll('#leaderboard table.board tr[data-r]')]"
        seen = self.script(f"return {lines}.filter(x => x.getClientRects().length).map(x => x.dataset.model)")
        return [name.removesuffix(".digits") for name in seen]

    def protocol(self) -> str:
        """The text of the open protocol, "" where none is open."""
        dialog = self.find("#protocol")
        return str(dialog.text) if dialog.is_displayed() else ""

    def cell(self, model: str, column: int = 0) -> Any:
        return self.find(f'#leaderboard .board tr[data-model="{model}.digits"] .cell[data-c="{column}"]')

    def faults(self) -> list[Any]:
        """Errors on the console, and whatever was asked of a network."""
        errors = [entry for entry in self.driver.get_log("browser") if entry["level"] != "DEBUG"]
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        assert any(url.startswith("file:") for url in sent)  # or nothing would have been seen at all
        own = ("file:", "data:", "chrome:", "chrome-untrusted:")  # the last two are the browser's first empty tab
        return errors + [url for url in sent if not url.startswith(own)]


@pytest.fixture
def person(report: Path, tmp_path: Path) -> Iterator[Person]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
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
    start = ["better", "worse", hostile, "alpha", "diluted", "zeta", "ode", "gan", "given", "training_images"]
    assert person.rows() == start
    head = person.find('#leaderboard .board th[aria-sort="ascending"]')
    person.click(head.find_element("css selector", "button"))
    assert head.get_attribute("aria-sort") == "descending"
    assert person.rows() == [hostile, "worse", "better", *start[3:]]  # bounds and estimates stay by name
    quality = person.find('#leaderboard .board button[aria-label^="Sort by fd_pixels (train)"]')
    person.script("arguments[0].focus()", quality)
    person.press(person.keys.ENTER)
    ordered = ["training_images", "gan", "zeta", "worse", "ode", "better", "alpha", "diluted"]
    assert person.rows()[:8] == ordered
    assert head.get_attribute("aria-sort") is None
    assert quality.find_element("xpath", "..").get_attribute("aria-sort") == "ascending"
    person.press(person.keys.SPACE)
    assert person.rows()[:8] == ordered[::-1]
    assert "all rows of this key" in person.find("#leaderboard .order").text
    person.click(person.find('#leaderboard .board [data-sort="model"]'))
    assert person.rows() == sorted(start)


@pytest.mark.slow
@in_browser
def test_filter(person: Person) -> None:
    person.click(person.find('[name="model"]'))
    person.press("ETA")
    assert person.rows() == ["zeta"]
    assert person.find(".filters output").text == "1 of 10 rows"
    assert len(person.all("#scatter svg .mark-group")) == 1
    assert not person.find("#pictures .task").is_displayed()
    person.click(person.find('.filters button[type="reset"]'))
    person.until(lambda: len(person.rows()) == 10)
    person.find('[name="relation"]').send_keys("≤")
    person.until(lambda: person.rows() == ["alpha", "diluted", "zeta"])
    person.find('[name="family"]').send_keys("constr")
    person.until(lambda: person.rows() == ["diluted"])
    person.find('[name="relation"]').send_keys("= ex")
    person.until(lambda: person.find(".filters output").text == "No row passes this filter")


@pytest.mark.slow
@in_browser
def test_a_protocol_by_mouse(person: Person) -> None:
    assert person.protocol() == ""
    person.point(person.cell("better"))
    text = person.until(person.protocol)
    expected = card("better", likelihood(2.25, "="))
    for part in (
        "better.digits: bits_per_dim",
        "= 2.2500 ± 0.0100 bits/dim",
        expected["metrics"][0]["comparable_key"],
        expected["model"]["weights"]["sha256"],
        expected["task"]["sha256"],
        *expected["data"]["splits"].values(),
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
    assert person.until(lambda: person.find("#training svg path.line").get_attribute("d")).count("L") == 3


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
    path = htmlreport.write(cards.read_all([folder]), tmp_path / "many.html", [folder])
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
