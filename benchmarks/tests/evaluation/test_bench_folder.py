"""What lies in the folder of a benchmark already: nothing finished is lost, and nothing is taken for what it is not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from zoo_bench import Card, bench, evaluate, report, train
from zoo_bench.cards import files, pinned
from zoo_bench.reports.tables import tables

import zoo_core
from zoo_core import ZooError


def test_a_finished_card_is_not_computed_again(benched: Path) -> None:
    path = benched / "cards" / "gmm.digits.quick-v1-digits.seed0.json"
    before = path.stat().st_mtime_ns
    said: list[str] = []
    bench("quick", models="gmm", out=benched, quiet=True, say=said.append)
    assert path.stat().st_mtime_ns == before
    assert "gmm.digits: its card is there already" in said
    places = [line for line in said if line.startswith("model ")]  # the baselines, and it
    assert places[-1] == f"model {len(places)} of {len(places)}: gmm on digits"
    path.unlink()
    bench("quick", models="gmm", out=benched, quiet=True, say=said.append)
    assert path.exists()
    assert not any("training" in line for line in said)  # its weights were there: only the evaluation was missing


def test_another_suite_in_the_same_folder_leaves_the_cards_alone(benched: Path, tmp_path: Path) -> None:
    shutil.copytree(benched, tmp_path / "both")
    held = {path.name: path.read_bytes() for path in (tmp_path / "both" / "cards").glob("*.json")}
    bench("restore/digits", models="bmm", pretrained=True, out=tmp_path / "both", quiet=True)
    assert (
        held.items() <= {path.name: path.read_bytes() for path in (tmp_path / "both" / "cards").glob("*.json")}.items()
    )


def test_a_short_run_is_never_taken_for_the_real_one(tmp_path: Path) -> None:
    """A budget of one's own, then the suite as it is, then the published weights, all in one folder."""

    def gmm(**options) -> Card:
        found = bench("quick", models="gmm", out=tmp_path, quiet=True, **options).cards
        return next(card for card in found if card.model.name == "gmm")

    short, real, published = gmm(settings={"images": 3_000}), gmm(), gmm(pretrained=True)
    assert short.partial
    assert not real.partial
    assert short.model.images_seen < 5_000 < real.model.images_seen
    assert real.model.recipe["images"] == 40_000
    assert pinned.is_of(published, zoo_core.spec("gmm"), zoo_core.spec("gmm").pretrained[0])
    assert published.model.weights.source == "gmm.digits"


def test_a_trial_leaves_the_real_training_alone(tmp_path: Path) -> None:
    """A smaller budget in the folder of a finished benchmark: both keep their weights and their cards."""
    bench("quick", models="gmm", out=tmp_path, quiet=True)
    run = tmp_path / "runs" / "gmm.digits"
    kept = [*run.rglob("*.*"), *(tmp_path / "cards").glob("gmm.digits.*"), *(tmp_path / "cards").glob("diluted.*")]
    before = {path: path.read_bytes() for path in kept if path.is_file()}
    trial = bench("quick", models="gmm", out=tmp_path, quiet=True, settings={"images": 3_000})
    assert {path: path.read_bytes() for path in before} == before
    assert next(card for card in trial.cards if card.model.name == "gmm").partial
    made = {path.name.removeprefix("gmm.digits.") for path in (tmp_path / "cards").glob("gmm.digits.*.partial.*")}
    assert made == {f"quick-v1-digits.seed0.partial.{end}" for end in ("json", "png", "nats.npy")}


def test_a_trial_of_the_recipe_s_own_length_is_a_trial(tmp_path: Path) -> None:
    bench("quick", models="gmm", out=tmp_path, quiet=True, settings={"images": 40_000})
    result = bench("quick", models="gmm", out=tmp_path, quiet=True)
    assert not next(card for card in result.cards if card.model.name == "gmm").partial


def test_a_card_whose_nats_are_gone_is_made_again(benched: Path, tmp_path: Path) -> None:
    shutil.copytree(benched, tmp_path / "out")
    file = tmp_path / "out" / "cards" / "gmm.digits.quick-v1-digits.seed0.nats.npy"
    before = file.read_bytes()
    file.unlink()
    bench("quick", models="gmm", out=tmp_path / "out", quiet=True)
    assert file.read_bytes() == before


def test_so_is_that_of_the_diluted_row_and_other_seeds_stay(tmp_path: Path) -> None:
    bench("quick", models="bmm", pretrained=True, out=tmp_path, quiet=True, seeds=2)
    folder = tmp_path / "cards"
    before = {path: path.read_bytes() for path in folder.glob("*.npy")}
    other = (folder / "bmm.digits.quick-v1-digits.seed1.json").read_bytes()
    for path in before:
        path.unlink()
    said: list[str] = []
    bench("quick", models="bmm", pretrained=True, out=tmp_path, quiet=True, say=said.append)
    assert {path: path.read_bytes() for path in folder.glob("*.npy")} == before
    assert (folder / "bmm.digits.quick-v1-digits.seed1.json").read_bytes() == other
    assert not any("replaced" in line for line in said)


def test_the_diluted_row_is_of_the_best_model_in_the_folder(benched: Path, tmp_path: Path) -> None:
    shutil.copytree(benched, tmp_path / "out")
    bench("quick", models="bmm", pretrained=True, out=tmp_path / "out", quiet=True)
    bench("quick", models="gmm", out=tmp_path / "out", quiet=True)
    card = files.read(tmp_path / "out" / "cards" / "diluted.digits.quick-v1-digits.seed0.json")
    assert card.model.made_of == "1 % bmm, 99 % uniform noise"


def test_a_training_from_before_a_field_came_is_still_the_same(benched: Path, tmp_path: Path) -> None:
    """Neither trained again nor refused: the field has its default."""
    shutil.copytree(benched, tmp_path / "out")
    run = tmp_path / "out" / "runs" / "gmm.digits" / "run.json"
    card = tmp_path / "out" / "cards" / "gmm.digits.quick-v1-digits.seed0.json"
    for path, part in ((run, "identity"), (card, "model")):
        known = json.loads(path.read_text())
        assert known[part]["recipe"].pop("clip") == 0.0
        del known[part]["config"][max(known[part]["config"])]
        path.write_text(json.dumps(known))
    said: list[str] = []
    bench("quick", models="gmm", out=tmp_path / "out", quiet=True, say=said.append)
    assert "gmm.digits: its card is there already" in said


def test_an_edited_suite_is_refused_before_any_work(tmp_path: Path) -> None:
    suite = tmp_path / "mine.toml"
    text = 'name = "mine"\nversion = 1\nbaselines = ["uniform"]\n[[tasks]]\nid = "digits"\ndata = "digits"\n'
    suite.write_text(f'{text}metrics = ["bits_per_dim"]\ndraws = 1\n')
    bench(str(suite), models="uniform", out=tmp_path / "out", quiet=True)
    held = {path: path.read_bytes() for path in (tmp_path / "out" / "cards").iterdir()}
    suite.write_text(f'{text}metrics = ["bits_per_dim"]\ndraws = 2\n')
    with pytest.raises(ZooError, match=r"mine@1/digits as it was defined before: raise the suite's version"):
        bench(str(suite), models="uniform", out=tmp_path / "out", quiet=True)
    assert {path: path.read_bytes() for path in (tmp_path / "out" / "cards").iterdir()} == held
    bench(str(suite), models="uniform", out=tmp_path / "out", quiet=True, again=True)


def test_the_training_of_a_recipe_that_changed_is_not_replaced_unasked(tmp_path: Path) -> None:
    bench("quick", models="gmm", out=tmp_path, quiet=True, settings={"images": 3_000})
    (tmp_path / "runs" / "gmm.digits.images-3000").rename(tmp_path / "runs" / "gmm.digits")
    before = (tmp_path / "runs" / "gmm.digits" / "run.json").read_bytes()
    with pytest.raises(ZooError, match=r"gmm\.digits by another recipe \(finished\).*--again"):
        bench("quick", models="gmm", out=tmp_path, quiet=True)
    assert (tmp_path / "runs" / "gmm.digits" / "run.json").read_bytes() == before
    bench("quick", models="gmm", out=tmp_path, quiet=True, again=True)
    assert json.loads((tmp_path / "runs" / "gmm.digits" / "run.json").read_text())["identity"]["recipe"]["images"] > 3e4


def test_again_makes_the_diluted_row_anew(benched: Path, tmp_path: Path) -> None:
    shutil.copytree(benched, tmp_path / "out")
    path = tmp_path / "out" / "cards" / "diluted.digits.quick-v1-digits.seed0.json"
    card = json.loads(path.read_text())
    card["metrics"][0]["value"] = 0.0
    path.write_text(json.dumps(card))
    bench("quick", models="uniform", out=tmp_path / "out", quiet=True, again=True)
    assert files.read(path).metrics[0].value > 2


def test_two_benchmarks_of_one_suite_stand_in_one_report(tmp_path: Path) -> None:
    """`zoo report` of all runs: the baselines of both are the same results, computed twice."""
    for name in ("one", "two"):
        bench("quick", models="uniform", out=tmp_path / name, quiet=True)
    (table,) = tables(files.read_all([tmp_path]))
    names = [row.name for _, rows in table.groups for row in rows]
    assert len(names) == len(set(names)) == 7


def test_a_partial_card_leaves_the_complete_one_alone(recipe, tmp_path: Path) -> None:
    out = tmp_path / "out"
    evaluate("gmm.digits", out=out)
    evaluate("gmm.digits", out=out, limit=20)
    text = report([out])
    assert "| gmm |" in text
    assert "gmm.digits: not in the table, because it is partial" in text
    runs = [train(recipe(images=n), out=tmp_path / f"run{n}", quiet=True) for n in (200, 300)]
    evaluate(runs[0].weights, out=out)
    with pytest.raises(ZooError, match="is the card of other weights"):
        evaluate(runs[1].weights, out=out)
    evaluate(runs[1].weights, out=tmp_path / "other")
    (table,) = tables(files.read_all([out, tmp_path / "other"]))
    names = [row.name for _, rows in table.groups for row in rows]
    assert len(names) == len(set(names)) == 5  # with the floor and the copycat
    assert sum(name.startswith("vae (") for name in names) == 2
