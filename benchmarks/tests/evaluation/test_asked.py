"""More than the suites ask for: metrics by name, and suites of one's own, both with their protocol in the card."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import zoo_bench
from click.testing import CliRunner
from zoo_bench import Card, bench, evaluate
from zoo_bench.cards.types import TaskEntry
from zoo_bench.commands.evaluate import evaluate as command
from zoo_bench.commands.report import report as report_command
from zoo_bench.evaluation.evaluate_samples import evaluate_samples
from zoo_bench.evaluation.verify import verify
from zoo_bench.reports.tables import tables
from zoo_bench.tasks import suites

from zoo_core import registry, sampling
from zoo_core.commands import sample_files
from zoo_core.errors import ZooError
from zoo_core.pretrained import load

MINE = """
name = "mine"
version = 3

[[tasks]]
id = "turned"
data = "digits_rotated"
metrics = ["bits_per_dim", "kid_digitscnn"]
samples = 200
references = ["test"]
kid_size = 50
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(MINE)
    return path


def path_of(card: Card, folder: Path) -> Path:
    return folder / f"{card.stem}.json"


def test_metrics_are_asked_for_by_name_and_the_card_says_so(tmp_path: Path) -> None:
    plain = evaluate("made.digits")
    card = evaluate("made.digits", metrics=["prdc_digitscnn", "fd_pixels"], out=tmp_path)
    assert card.asked == ("prdc_digitscnn", "fd_pixels")
    assert card.task == plain.task  # the numbers of the task stay what they are
    assert [(e.comparable_key, e.value) for e in card.metrics[: len(plain.metrics)]] == [
        (e.comparable_key, e.value) for e in plain.metrics
    ]
    ids = {entry.id for entry in card.metrics[len(plain.metrics) :]}
    assert ids == {f"{kind}_digitscnn" for kind in ("precision", "recall", "density", "coverage")}
    assert all(check.agrees for check in verify(path_of(card, tmp_path)))


def test_weights_that_are_nowhere_are_named_and_cost_nothing_else(tmp_path: Path) -> None:
    card = evaluate("bmm.digits", "restore/digits", metrics=["cmmd", "lpips_pairs"], limit=8)
    found = {entry.id: entry for entry in card.metrics}
    assert found["restore_half_mse"].value is not None
    # restore@1 draws no samples, and says so of what would need them
    assert "draws no samples" in found["cmmd"].params.reason
    drawn = sampling.draw(load("made.digits"), 20)
    path = sample_files.write(tmp_path / "few.npz", drawn, load("made.digits").images, n=20)
    assert path.exists()
    card = evaluate("gmm.digits", metrics=["cmmd", "lpips_pairs"], limit=8)
    found = {entry.id: entry for entry in card.metrics}
    assert found["cmmd"].status == "skipped"
    assert "sha256" in found["cmmd"].params.reason
    assert "does not apply" in found["lpips_pairs"].params.reason  # 8x8 is too small for VGG-16


def test_data_dir_is_where_weights_are_looked_for_too(tmp_path: Path) -> None:
    card = evaluate("gmm.digits", metrics=["cmmd"], limit=8, data_dir=tmp_path)
    (entry,) = [entry for entry in card.metrics if entry.id == "cmmd"]
    assert str(tmp_path / "extractors") in entry.params.reason


def test_the_command_takes_several_and_knows_their_names() -> None:
    arguments = ["gmm.digits", "--limit", "300", "--quiet", "--json", "--metrics"]
    result = CliRunner().invoke(command, [*arguments, "kid_pixels, fd_digitscnn"])
    assert result.exit_code == 0, result.output
    assert {"kid_pixels", "fd_digitscnn"} < {entry["id"] for entry in json.loads(result.output)["metrics"]}
    result = CliRunner().invoke(command, [*arguments, "kid_pixel"])
    assert isinstance(result.exception, ZooError)
    assert "did you mean 'kid_pixels'" in str(result.exception)


def test_a_suite_of_ones_own_is_a_suite_like_any_other(mine: Path, tmp_path: Path) -> None:
    suite = suites.load(str(mine))
    assert (suite.id, suite.task_id(suite.tasks[0])) == ("mine@3", "mine@3/turned")
    assert suites.load(f"{mine}/turned").tasks == suite.tasks
    out = tmp_path / "out"
    card = evaluate("gmm.digits", str(mine), data="digits_rotated", out=out)
    assert card.task == TaskEntry(id="mine@3/turned", version=3, sha256=suite.tasks[0].sha256())
    path = path_of(card, out)
    assert all(check.agrees for check in verify(path, suite=str(mine)))
    with pytest.raises(ZooError, match="--suite"):
        verify(path)
    drawn = sampling.draw(load("made.digits"), 200)
    given = sample_files.write(tmp_path / "theirs.npz", drawn, load("made.digits").images, n=200)
    theirs = evaluate_samples(given, f"{mine}/turned")
    (table,) = tables([card, theirs])
    (row,) = [row for _, rows in table.groups for row in rows if row.name == "theirs"]
    assert set(row.values) < {column.key for column in table.columns}
    mine.write_text(MINE.replace("kid_size = 50", "kid_size = 60"))
    with pytest.raises(ZooError, match="edited without a new version"):
        verify(path, suite=str(mine))


def test_a_benchmark_of_a_suite_of_ones_own(mine: Path, tmp_path: Path) -> None:
    result = bench(str(mine), models="uniform", out=tmp_path / "out", quiet=True)
    names = {card.model.name: card for card in result.cards}
    assert set(names) == {"training_images"}  # it lists no baselines, and nobody has a recipe for these digits
    assert [card.task.id for card in result.cards] == ["mine@3/turned"]


def test_the_suite_in_the_readme_is_one(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "README.md"
    (text,) = (block for block in re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL) if "tasks" in block)
    (tmp_path / "mine.toml").write_text(text)
    assert suites.load(str(tmp_path / "mine.toml")).tasks[0].kid_size == 250


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MINE.replace('"mine"', '"quick"'), "is the name of a suite of zoo"),
        (MINE.replace('"mine"', '"../mine"'), "letters, digits"),
        ('name = "mine"\nversion = 1\ntasks = []\n', "no tasks"),
        (MINE + MINE[MINE.index("[[") :], "different ids"),
        (MINE.replace("kid_digitscnn", "kid_digitcnn"), "did you mean 'kid_digitscnn'"),
        (MINE.replace("samples =", "sample ="), "sample"),
        ("name = ", "not valid TOML"),
    ],
)
def test_a_suite_that_is_none_is_told_why(text: str, message: str, mine: Path) -> None:
    mine.write_text(text)
    with pytest.raises(ZooError, match=message):
        suites.load(str(mine))


def test_a_suite_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="does not exist"):
        suites.load(str(tmp_path / "none.toml"))


@pytest.mark.parametrize(
    "name",
    [
        "prdc_pixels",
        "classes_digitscnn",
        "memorisation_pixels",
        "is_digitscnn",
        "reconstruct",
        "restore_half",
        "fd_pixels",
    ],
)
def test_a_metric_says_what_its_entries_are_called(name: str) -> None:
    """So that one that fails or is skipped stands in the columns of its numbers."""
    model = "vae.digits" if name == "reconstruct" else "bmm.digits"
    before = evaluate(model, limit=20)
    found = evaluate(model, limit=20, metrics=[name]).metrics[len(before.metrics) :] or before.metrics
    spec = registry.metrics.get(name)
    told = set(spec.params.get("entries", [name]))
    ids = {entry.id for entry in found if entry.id not in ("bits_per_dim", "nats")}
    assert ids <= told, "every entry is told"
    assert told - ids <= {
        "class_accuracy_digitscnn",
        "reconstruct_ssim",
        "restore_half_ssim",
    }  # for other models, images


def test_every_command_has_a_python_twin() -> None:
    for name in zoo_bench.__all__:
        assert callable(getattr(zoo_bench, name)), name


def test_what_a_task_does_not_apply_to_is_said_and_a_failed_metric_is_no_success() -> None:
    result = CliRunner().invoke(command, ["vae.digits", "--suite", "restore/digits", "--quiet"])
    assert (result.exit_code, "nothing: no metric" in result.output) == (0, True), result.output
    result = CliRunner().invoke(command, ["gmm.digits", "--metrics", "fd_inf_pixels", "--limit", "10", "--quiet"])
    assert result.exit_code == 1, result.output
    assert "fd_inf" in result.output


def test_a_model_that_no_metric_applies_to_is_named_and_has_no_card(tmp_path: Path) -> None:
    result = bench("restore/digits", models="gmm,bmm", pretrained=True, out=tmp_path, quiet=True)
    assert "gmm" not in {card.model.name for card in result.cards}
    assert result.missing["gmm"] == "no metric of restore@1/digits applies to it"
    assert not list((tmp_path / "cards").glob("gmm.*.json"))
    assert list((tmp_path / "cards").glob("bmm.*.json"))


def test_a_report_replaces_no_device(tmp_path: Path) -> None:
    evaluate("made.digits", out=tmp_path)
    assert zoo_bench.report(str(tmp_path)) == zoo_bench.report([tmp_path])
    with pytest.raises(ZooError, match="expected a file to write"):
        CliRunner().invoke(
            report_command, [str(tmp_path), "--out", "/dev/null"], standalone_mode=False, catch_exceptions=False
        )
    assert Path("/dev/null").is_char_device()
