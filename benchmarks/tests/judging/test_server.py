"""People as judges: the page is blind, answers are taken from it alone, and none that was given is ever lost."""

from __future__ import annotations

import http.client
import json
import re
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from judges import NAMES, start
from PIL import Image
from zoo_bench.cards import files
from zoo_bench.commands.judge import judge
from zoo_bench.judging import results as judge_results
from zoo_bench.judging.questions import needed, plan
from zoo_bench.judging.server import Server, open_study
from zoo_bench.judging.study import Study
from zoo_bench.reports import modelcards
from zoo_bench.reports.report import report

from zoo_core import ZooError

# -- questions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "m, n, k", [(2, 5, 2), (3, 60, 2), (10, 9, 2), (10, 90, 2), (7, 20, 4), (12, 40, 3), (30, 40, 5)]
)
def test_plans_are_linked_and_even(m: int, n: int, k: int) -> None:
    groups = plan(m, n, k, seed=0)
    assert len(groups) == n and all(len(set(group)) == k for group in groups)
    linked = {0}
    while more := {i for group in groups if linked & set(group) for i in group} - linked:
        linked |= more
    assert linked == set(range(m))
    counts = needed(groups, m, 1)
    assert sum(counts) == n * k and max(counts) - min(counts) <= max(3, n * k / m)
    assert plan(m, n, k, seed=0) == groups
    if (m, n) == (3, 60):
        assert {group: groups.count(group) for group in groups} == dict.fromkeys([(0, 1), (0, 2), (1, 2)], 20)


def test_too_few_questions_to_link_all() -> None:
    with pytest.raises(ZooError, match="ask for --n 9 or more"):
        plan(10, 8, 2, seed=0)


def everything(study: Study, judge: str) -> list[dict[str, Any]]:
    """All questions of a judge in their order; always the first is preferred."""
    seen = []
    while question := study.state(judge)["now"]:
        seen.append(question)
        study.answer(judge, question["id"], list(range(1, len(question["images"]) + 1)))
    return seen


def test_orders_are_random_and_even_and_kept_by_the_seed(make_study: Callable[..., Study]) -> None:
    study = make_study(n=100)
    one, two = (everything(study, study.judge(name)) for name in ("ada", "eve"))
    assert sorted(each["id"] for each in one) == sorted(each["id"] for each in two)
    assert [each["id"] for each in one] != [each["id"] for each in two]
    shown = [json.loads(row[0]) for row in study._rows("SELECT shown FROM answers")]
    assert 60 < sum(order == [0, 1] for order in shown) < 140  # left and right take turns by chance: 200 fair coins
    choices = study.choices()
    first = [sum(choice.order[0] == i for choice in choices) for i in range(3)]
    assert min(first) > 40  # who always takes the left one prefers nobody


def test_no_image_is_shown_twice_and_all_are_of_one_size(make_study: Callable[..., Study]) -> None:
    study = make_study(n=60)
    pictures = [study.image(row[0]) for row in study._rows("SELECT id FROM images")]
    assert len(set(pictures)) == 120
    assert {picture[16:24] for picture in pictures} == {b"\0\0\0\x08\0\0\0\x08"}  # width and height in the PNG's header


def test_pictures_are_the_samples(make_study: Callable[..., Study], sample_files: list[str]) -> None:
    import io

    study = make_study(n=6, grid=4)
    arrays = [np.load(path)["images"] for path in sample_files]
    for question, alternatives in study.questions().items():
        for name, i in zip(study.pictures(question), alternatives):
            canvas = np.asarray(Image.open(io.BytesIO(study.image(name) or b"")))
            assert canvas.shape == (17, 17, 2)
            corner = np.rint(canvas[:8, :8, 0] * (16 / 255)).astype(np.uint8)
            assert (arrays[i][..., 0] == corner).all((1, 2)).sum() == 1
            assert (canvas[8, :, 1] == 0).all() and (canvas[:8, :8, 1] == 255).all()


def test_a_study_goes_on_and_another_is_refused(
    make_study: Callable[..., Study], sample_files: list[str], tmp_path: Path
) -> None:
    study = make_study(n=12, seed=5)
    name = study.judge(" Ada  Lovelace ")
    everything(study, name)
    again = open_study(study.path, [])
    assert again.judge("ada lovelace") == name and again.state(name)["answered"] == 12
    assert again.known == study.known == open_study(study.path, sample_files, seed=5).known
    for options, message in [
        ({"seed": 6}, "seed: 5, not 6"),
        ({"n": 13}, "n: 12, not 13"),
        ({"mode": "ranking"}, "mode: contrast, not ranking"),
        ({"question": "Which?"}, r"question: Which looks more real\?, not Which\?"),
    ]:
        with pytest.raises(ZooError, match=message):
            open_study(study.path, sample_files, **options)
    with pytest.raises(ZooError, match="models: zebrafish, wombat, okapi, not wombat, okapi"):
        open_study(study.path, sample_files[1:])
    np.savez(sample_files[0], images=np.zeros((200, 8, 8, 1), np.uint8), levels=np.int64(17))
    with pytest.raises(ZooError, match="zebrafish: other images or weights"):
        open_study(study.path, sample_files)
    assert again.counts() == (12, 1)


def test_bad_alternatives(tmp_path: Path, sample_files: list[str]) -> None:
    path = tmp_path / "new.sqlite"

    def refused(message: str, *texts: str, **options: Any) -> None:
        with pytest.raises(ZooError, match=message):
            open_study(path, list(texts), **options)
        assert not path.exists()

    refused("begin a study by naming what to compare")
    refused("at least two alternatives", sample_files[0])
    refused(r"a name of letters, .* got '\.\./e'", sample_files[0], f"../e={sample_files[1]}")  # of files, later
    refused("two alternatives are called 'zebrafish'", sample_files[0], sample_files[0])
    refused("real images of which data set", sample_files[0], "real")
    refused("there is no such file", sample_files[0], "./nothing.npz")
    refused("unknown model 'nothing'", sample_files[0], "nothing")
    refused("has 200 images, the study needs 300", sample_files[0], sample_files[1], n=300)
    refused("a contrast is between two", *sample_files, per_question=3)
    np.save(tmp_path / "large.npy", np.zeros((100, 9, 9, 1), np.uint8))
    refused("told apart by it: zebrafish 1x8x8, large 1x9x9", sample_files[0], str(tmp_path / "large.npy"))
    np.save(tmp_path / "float.npy", np.zeros((100, 8, 8, 1)))
    refused("expected uint8 pixels", sample_files[0], str(tmp_path / "float.npy"))
    np.savez(tmp_path / "range.npz", images=np.full((100, 8, 8, 1), 17, np.uint8), levels=np.int64(17))
    refused(r"expected values 0\.\.16, got up to 17", sample_files[0], str(tmp_path / "range.npz"))
    (tmp_path / "text.npz").write_text("no arrays")
    refused("text.npz: ", sample_files[0], str(tmp_path / "text.npz"))
    (tmp_path / "jpegs").mkdir()
    refused("holds no PNG files", sample_files[0], str(tmp_path / "jpegs"))
    Image.new("L", (8, 8)).save(tmp_path / "jpegs" / "a.jpg")
    refused("is a JPEG", sample_files[0], str(tmp_path / "jpegs"))


def test_a_file_that_is_no_study(tmp_path: Path) -> None:
    text, other = tmp_path / "text.sqlite", tmp_path / "other.sqlite"
    text.write_text("this is a letter, not a database, and long enough to be taken for one" * 20)
    db = sqlite3.connect(other)
    db.execute("CREATE TABLE cats (name TEXT)")
    db.close()
    for path in (text, other):
        before = path.read_bytes()
        with pytest.raises(ZooError, match="not a file of judgements"):
            Study(path)
        assert path.read_bytes() == before


def test_weights_real_images_and_folders_are_alternatives(tmp_path: Path) -> None:
    (tmp_path / "drawn").mkdir()
    for i in range(10):
        pixels = np.random.default_rng(i).integers(0, 256, (8, 8)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "drawn" / f"{i}.png")
    study = open_study(tmp_path / "mixed.sqlite", ["gmm.digits", "real", f"mine={tmp_path / 'drawn'}"], n=9)
    assert study.known.data == "digits" and study.known.names == ["gmm.digits", "real", "mine"]
    everything(study, study.judge(None))
    made = judge_results.as_cards(judge_results.results(study))
    assert [(card.model.name, card.model.tag, card.model.family) for card in made] == [
        ("gmm", "digits", "mixture"),
        ("real", None, "floor"),
        ("mine", None, "samples"),
    ]
    assert str(tmp_path) not in json.dumps(made[2].but(command="").to_dict())
    judge_results.write(judge_results.results(study), tmp_path / "cards")
    assert modelcards.update(tmp_path / "pages", files.read_all([tmp_path / "cards"])) == ["gmm.digits"]
    assert "bradley_terry" in (tmp_path / "pages" / "gmm.digits.md").read_text()
    study.close()


# -- results ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode, metric", [("contrast", "bradley_terry"), ("ranking", "plackett_luce")])
def test_results_become_cards_that_share_one_key(
    make_study: Callable[..., Study], tmp_path: Path, mode: str, metric: str
) -> None:
    study = make_study(mode=mode, n=12)
    with pytest.raises(ZooError, match="no answers yet"):
        judge_results.results(study)
    everything(study, study.judge("ada"))
    found = judge_results.results(study)
    folder = tmp_path / "cards"
    judge_results.write(found, folder)
    made = files.read_all([folder])
    entries = [card.metrics[0] for card in made]
    assert sorted(card.model.name for card in made) == sorted(NAMES)
    assert {entry.id for entry in entries} == {metric}
    assert len({entry.comparable_key for entry in entries}) == 1
    assert all(entry.higher_is_better and entry.relation is None for entry in entries)
    for entry in entries:
        assert entry.interval is not None and entry.value is not None
        assert entry.interval.low <= entry.value <= entry.interval.high
    assert metric.replace("_", " ") in report([folder])
    everything(study, study.judge("eve"))
    later = judge_results.as_cards(judge_results.results(study))[0].metrics[0]
    assert later.comparable_key != entries[0].comparable_key and later.params.get("judges") == 2
    text = judge_results.text(judge_results.results(study))
    assert "24 answers of 2 judges" in text and all(name in text for name in NAMES)


# -- the server ------------------------------------------------------------------------------------------------------


class Client:
    """A browser's requests, with its cookie."""

    def __init__(self, url: str) -> None:
        match = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/([\w-]+)/", url)
        assert match
        self.port, self.token, self.cookie = int(match[1]), match[2], ""

    def ask(self, path: str, body: Any = None, **changes: str | None) -> tuple[int, Any, dict[str, str]]:
        headers = {"Host": f"127.0.0.1:{self.port}", "Cookie": self.cookie}
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            headers |= {"Origin": f"http://127.0.0.1:{self.port}", "Content-Type": "application/json"}
        token = changes.pop("token", self.token)
        headers |= {key.replace("_", "-"): value for key, value in changes.items() if value is not None}
        for key in [key for key, value in changes.items() if value is None]:
            headers.pop(key.replace("_", "-"))
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request("GET" if data is None else "POST", f"/{token}/{path}", data, headers)
        response = connection.getresponse()
        content, got = response.read(), dict(response.getheaders())
        connection.close()
        if "Set-Cookie" in got:
            self.cookie = got["Set-Cookie"].partition(";")[0]
        return response.status, json.loads(content) if got["Content-Type"] == "application/json" else content, got


@pytest.fixture
def served(make_study: Callable[..., Study]) -> Iterator[tuple[Study, Client]]:
    study = make_study()
    with Server(study) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield study, Client(server.url)
        server.shutdown()
        thread.join()


def test_a_study_by_its_requests(served: tuple[Study, Client]) -> None:
    study, client = served
    assert client.ask("state")[1] == {"judge": None}
    state = client.ask("judge", {"name": "Ada"})[1]["state"]
    assert (state["answered"], state["total"], state["judge"]) == (0, 12, "Ada")
    for ranks in ([1, 2], [2, 1], [1, 1]):
        now = state["now"]
        assert all(client.ask(f"image/{name}")[1].startswith(b"\x89PNG") for name in now["images"])
        state = client.ask("answer", {"question": now["id"], "ranks": ranks, "seconds": 1.5})[1]["state"]
    assert state["answered"] == 3 and study.counts() == (3, 1)
    assert [choice.tie for choice in study.choices()] == [False, False, True]
    assert client.ask("answer", {"question": now["id"], "ranks": [1, 1]})[0] == 200  # the answer got lost, not the post
    assert client.ask("answer", {"question": now["id"], "ranks": [1, 2]})[0] == 400
    assert study.counts() == (3, 1)
    state = client.ask("undo", {})[1]["state"]
    assert state["answered"] == 2 and state["now"]["id"] == now["id"] and study.counts() == (2, 1)
    assert client.ask("leave", {})[1] == {"judge": None}
    assert client.ask("state")[1] == {"judge": None}
    assert client.ask("judge", {"name": "ADA"})[1]["state"]["answered"] == 2
    assert client.ask("judge", {"name": None})[1]["state"]["answered"] == 0


def test_nothing_that_is_sent_names_a_model(served: tuple[Study, Client]) -> None:
    _, client = served
    sent = [client.ask(""), client.ask("state"), client.ask("judge", {"name": None})]
    while (state := sent[-1][1]["state"])["now"]:
        sent += [client.ask(f"image/{name}") for name in state["now"]["images"]]
        sent.append(client.ask("answer", {"question": state["now"]["id"], "ranks": [1, 2]}))
    sent += [client.ask("answer", {"question": "x", "ranks": [1, 2]}), client.ask("image/nothing"), client.ask("x")]
    assert len(sent) > 30
    everything_sent = repr(sent).casefold()
    assert not [name for name in NAMES if name in everything_sent]
    assert not re.findall(r"https?://(?!127\.0\.0\.1)", everything_sent)  # and the page needs no network


def test_other_pages_and_other_addresses_are_refused(served: tuple[Study, Client]) -> None:
    study, client = served
    state = client.ask("judge", {"name": None})[1]["state"]
    answer = {"question": state["now"]["id"], "ranks": [1, 2]}
    evil = "http://evil.example"
    assert client.ask("answer", answer, Origin=evil)[0] == 403
    assert client.ask("answer", answer, Origin=None)[0] == 403
    assert client.ask("answer", answer, Origin="null")[0] == 403
    assert client.ask("answer", answer, Origin="http://127.0.0.1:1")[0] == 403
    assert client.ask("answer", answer, token="wrong")[0] == 404
    assert client.ask("answer", answer, token="")[0] == 404
    assert client.ask("answer", answer, Host="evil.example")[0] == 421
    assert client.ask("answer", answer, Content_Type="text/plain")[0] == 415
    assert client.ask("answer", answer, Cookie=None)[0] == 403
    assert client.ask("answer", answer, Cookie=client.cookie[:-1] + "x")[0] == 403
    assert client.ask("", token="wrong")[0] == 404
    assert client.ask("", Host="evil.example")[0] == 421
    assert study.counts() == (0, 0)
    assert client.ask("answer", answer)[0] == 200


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"[" * 5000,
        {},
        {"question": "nothing"},
        {"question": ["QUESTION"]},
        *(
            {"ranks": ranks}
            for ranks in ([1, 3], [0, 1], [2, 2], [1], [1, 2, 3], [1.0, 2.0], [True, 2], "12", None, {})
        ),
        *({"seconds": seconds} for seconds in (-1, "1", True, 1e9, 10**400)),
    ],
)
def test_invalid_answers_store_nothing(served: tuple[Study, Client], body: Any) -> None:
    study, client = served
    state = client.ask("judge", {"name": None})[1]["state"]
    if isinstance(body, dict):
        body = {"question": state["now"]["id"], "ranks": [1, 2], **body} if body else {}
    status, said, _ = client.ask("answer", body)
    assert 400 <= status < 500 and said["error"]
    assert study.counts() == (0, 0)


def test_names_of_judges_are_checked(served: tuple[Study, Client]) -> None:
    study, client = served
    for name in ("x" * 81, "a\x00b", 7, ["a"]):
        assert client.ask("judge", {"name": name})[0] == 400
    assert client.ask("judge", b" " * 20_000)[0] == 413
    assert study._rows("SELECT count(*) FROM judges") == [(0,)]


def test_several_judges_at_once(served: tuple[Study, Client]) -> None:
    study, first = served
    problems = []

    def work(number: int) -> None:
        client = Client(f"http://127.0.0.1:{first.port}/{first.token}/")
        state = client.ask("judge", {"name": f"judge {number}"})[1]["state"]
        while state["now"]:
            status, said, _ = client.ask("answer", {"question": state["now"]["id"], "ranks": [1, 2]})
            if status != 200:
                problems.append(said)
                return
            state = said["state"]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems and study.counts() == (72, 6)


def test_kill_keeps_every_answer_given_and_the_rerun_goes_on(tmp_path: Path, sample_files: list[str]) -> None:
    db = tmp_path / "killed.sqlite"
    process, url = start(*sample_files, "--n", 12, "--db", db)
    try:
        client = Client(url)
        state, given = client.ask("judge", {"name": "Ada"})[1]["state"], {}
        for i in range(5):
            given[state["now"]["id"]] = ranks = [1, 2] if i % 2 else [2, 1]
            state = client.ask("answer", {"question": state["now"]["id"], "ranks": ranks})[1]["state"]
        process.kill()
        process.wait()
        process, url = start("--db", db)
        again = Client(url)
        again.cookie = client.cookie  # a browser keeps it: cookies know no ports
        resumed = again.ask("state")[1]["state"]
        assert resumed == state  # the same question in the same order
        assert again.token != client.token
        rows = sqlite3.connect(db).execute("SELECT question, ranks FROM answers").fetchall()
        assert {question: json.loads(ranks) for question, ranks in rows} == given
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert process.returncode == 0 and not err
        assert f"5 answers of 1 judge are saved in {db}; continue with: zoo judge --db {db}" in out
    finally:
        process.kill()
        process.communicate()


def test_the_command(tmp_path: Path, sample_files: list[str]) -> None:
    db, run = tmp_path / "study.sqlite", CliRunner().invoke
    assert "--results" in run(judge, ["--help"]).output
    for arguments, message in [
        (["--results", "--db", str(db)], "does not exist"),
        ([*sample_files, "--out", "x"], "--out is for the cards"),
        ([*sample_files, "--export", "prolific", "x.csv"], "expected mturk FILE.csv"),
        ([*sample_files, "--results", "--import", "x.csv"], "three things"),
    ]:
        result = run(judge, arguments)
        assert isinstance(result.exception, ZooError) and message in str(result.exception)
    result = run(judge, [*sample_files, "--n", "6", "--db", str(db), "--export", "mturk", str(tmp_path / "b.csv")])
    assert result.exit_code == 0 and "6 questions in" in result.output
    study = Study(db)
    everything(study, study.judge(None))
    study.close()
    result = run(judge, ["--results", "--db", str(db), "--out", str(tmp_path / "cards")])
    assert result.exit_code == 0 and "PREFERRED" in result.output
    assert len(files.read_all([tmp_path / "cards"])) == 3
