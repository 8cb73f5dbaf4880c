"""The card of other people's samples: that of the same pixels, with what is known of them and no more."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from made_samples import DIGITS, last, some
from zoo_bench import evaluate, report
from zoo_bench.cards import files
from zoo_bench.datasets import load as data
from zoo_bench.evaluation.evaluate_samples import evaluate_samples, find_task
from zoo_bench.metrics.second_opinion import ENGINES
from zoo_bench.reports import html as htmlreport
from zoo_bench.reports.tables import tables

import zoo_core
from zoo_core.commands import sample_files
from zoo_core.errors import ZooError


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,000 digits of made.digits, as the task of the quick suite draws them."""
    model = zoo_core.load("made.digits")
    request = {"model": "made.digits", "n": 1000, "seed": 0, "chunk": 100, "options": {}}
    path = tmp_path_factory.mktemp("drawn") / "theirs.npz"
    sample_files.draw_to(path, model, request, lambda images: None)
    return path


def test_the_card_is_that_of_the_model_without_likelihoods(drawn: Path, tmp_path: Path) -> None:
    """The same pixels through a file have the same hash, the same values and the same comparable keys."""
    card = evaluate_samples(drawn, "quick@1/digits", out=tmp_path)
    ours = evaluate("made.digits")
    assert card.sampling.sha256 == ours.sampling.sha256
    assert card.model.family == "samples"
    assert card.model.name == "theirs"
    assert card.model.source == "theirs.npz"
    assert str(drawn.parent) not in json.dumps({**card.to_dict(), "command": ""})
    expected = [entry for entry in ours.metrics if entry.relation is None]
    assert expected
    assert list(card.metrics) == expected
    assert files.read(tmp_path / f"{card.stem}.json") == card
    assert "| theirs | samples |" in report([tmp_path])
    assert (tmp_path / f"{card.stem}.png").exists()


def test_a_card_of_other_samples_is_not_replaced(drawn: Path, tmp_path: Path) -> None:
    evaluate_samples(drawn, "digits", out=tmp_path)
    evaluate_samples(drawn, "digits", out=tmp_path)  # the same ones: nothing is lost
    x = np.load(drawn)["images"][::-1]
    np.savez(tmp_path / "theirs.npz", images=x)
    with pytest.raises(ZooError, match="the card of other samples"):
        evaluate_samples(tmp_path / "theirs.npz", "digits", out=tmp_path)
    evaluate_samples(tmp_path / "theirs.npz", "digits", out=tmp_path, name="reversed")
    assert len(files.read_all([tmp_path])) == 2


def test_wrong_names_are_said(drawn: Path) -> None:
    with pytest.raises(ZooError, match=r"did you mean 'quick@1/digits'"):
        find_task("quick@1/digit")
    with pytest.raises(ZooError, match="did you mean 'quick'"):
        find_task("quik/digits")
    with pytest.raises(ZooError, match="did you mean 'digits'"):
        find_task("digts")
    for taken in ("made", "training_images", "diluted"):
        with pytest.raises(ZooError, match="is the name of a row of the zoo"):
            evaluate_samples(drawn, "digits", name=taken)
    with pytest.raises(ZooError, match="need a name"):
        evaluate_samples(drawn, "digits", name="/")


def test_torch_fidelity_gives_a_second_opinion_of_samples_too(tmp_path: Path) -> None:
    x = some(DIGITS, 1000)
    path = sample_files.write(tmp_path / "noise.npz", x, DIGITS)
    card = evaluate_samples(path, "quick@1/digits", engine="torch-fidelity", out=tmp_path)
    entries = card.metrics
    assert card.engine == "torch-fidelity"
    assert [entry.id for entry in entries] == ["fd_pixels", "fd_pixels"]
    for entry in entries:
        assert entry.value == pytest.approx(entry.params.get("torch_fidelity"), rel=1e-6)
    ours = evaluate_samples(path, "quick@1/digits", out=tmp_path / "ours")
    assert [entry.value for entry in ours.metrics] == [entry.value for entry in entries]
    assert len(files.read_all([tmp_path, tmp_path / "ours"])) == 1  # one result, once with a second opinion
    with pytest.raises(ZooError, match="engine"):
        evaluate_samples(path, "quick@1/digits", engine="torchfidelity")


def test_what_torch_fidelity_draws_at_random_never_stands_in_our_column(tmp_path: Path) -> None:
    """KID and the Inception score are of other subsets there: the column keeps ours, theirs stands beside it."""
    path = sample_files.write(tmp_path / "noise.npz", some(DIGITS, 2000), DIGITS)
    ours, theirs = (evaluate_samples(path, "small@2/digits", engine=name).metrics for name in ENGINES)
    assert [(e.comparable_key, e.value) for e in ours] == [(e.comparable_key, e.value) for e in theirs]
    told = {entry.id for entry in theirs if entry.params.get("torch_fidelity") is not None}
    assert {"kid_digitscnn", "is_digitscnn", "fd_digitscnn", "precision_digitscnn"} <= told


def test_what_a_file_says_of_itself_is_taken_over_where_it_can_be(tmp_path: Path) -> None:
    """Odd notes make no card that nobody can read, and no traceback."""
    x = last(some(DIGITS, 1000))
    odd = {"chunk": 0, "seed": True, "weights": np.nan, "device": np.bytes_(b"x"), "model": 1j}
    np.savez(tmp_path / "odd.npz", images=x, **odd)
    card = evaluate_samples(tmp_path / "odd.npz", "quick@1/digits", out=tmp_path / "out")
    assert set(card.sampling.to_dict()) == {"n", "seed", "sampler", "sha256"}
    assert card.sampling.seed == 0
    assert len(files.read_all([tmp_path / "out"])) == 1
    good = {"chunk": 100, "seed": 5, "weights": "a" * 64, "device": "cpu", "model": "gmm.digits"}
    np.savez(tmp_path / "good.npz", images=x, **good)
    drawn = evaluate_samples(tmp_path / "good.npz", "quick@1/digits").sampling.to_dict()
    assert {key: drawn[key] for key in good} == good


def test_images_of_one_class_are_not_comparable_with_those_of_all(tmp_path: Path) -> None:
    labels = data.load("digits", "train").pinned.labels.numpy()
    x = last(some(DIGITS, 1000))
    keys = []
    for name, given in (("training", labels[:1000]), ("even", np.arange(1000) % 10), ("three", np.full(1000, 3))):
        np.savez(tmp_path / f"{name}.npz", images=x, labels=given)
        entries = evaluate_samples(tmp_path / f"{name}.npz", "quick@1/digits").metrics
        keys.append({entry.comparable_key for entry in entries})
    assert keys[0] == keys[1]  # the digits are as many of each class, nearly
    assert not keys[0] & keys[2]


def test_a_picture_of_the_nearest_training_images_lies_beside_the_card(tmp_path: Path) -> None:
    path = sample_files.write(tmp_path / "noise.npz", some(DIGITS, 1000), DIGITS)
    card = evaluate_samples(path, "quick@1/digits", metrics=["memorisation_pixels"], out=tmp_path / "cards")
    assert (tmp_path / "cards" / f"{card.stem}.neighbours.png").is_file()
    page = htmlreport.page(files.read_all(tmp_path), [tmp_path])
    assert '"kind":"nearest training images"' in page
    assert '"kind":"samples"' in page
    (table,) = tables(files.read_all(tmp_path))  # with a floor in the column that was asked for
    (column,) = [column for column in table.columns if column.id == "nn_ratio_pixels"]
    rows = {row.name for _, rows in table.groups for row in rows if column.key in row.values}
    assert rows == {"noise", "training_images"}


def test_a_card_s_own_name_of_a_task_without_a_suite_is_one() -> None:
    assert find_task("data@1/digits_rotated")[1].data == "digits_rotated"
