"""The headline of a task: which numbers a short table shows, and never what they are."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from made_cards import card, distance, entry, likelihood, saved
from zoo_bench import report
from zoo_bench.tasks import suites

from zoo_core import registry
from zoo_core.errors import ZooError

MINE = """
name = "mine"
version = 1

[[tasks]]
id = "digits"
data = "digits"
metrics = ["bits_per_dim", "prdc_digitscnn"]
samples = 1000
references = ["train", "test"]
headline = {headline}
"""


def mine(folder: Path, headline: str) -> str:
    path = folder / "mine.toml"
    path.write_text(MINE.format(headline=headline))
    return str(path)


def test_a_headline_decides_no_number() -> None:
    suite = suites.load("quick")
    (task,) = suite.tasks
    other = dataclasses.replace(task, headline=("nats",))
    assert task.headline and "headline" not in task.definition()
    assert other.sha256() == task.sha256()
    assert dataclasses.replace(suite, tasks=(other,)).protocol_sha256() == suite.protocol_sha256()


@pytest.mark.parametrize("name", suites.names())
def test_every_suite_says_what_its_tasks_are_known_by(name: str) -> None:
    for task in suites.load(name).tasks:
        assert 1 <= len(task.headline) <= 4 and len(set(task.headline)) == len(task.headline)


def test_a_headline_names_numbers_that_the_task_measures(tmp_path: Path) -> None:
    """prdc_x is a metric of four numbers, none of which is called so."""
    assert suites.load(mine(tmp_path, '["coverage_digitscnn", "bits_per_dim"]')).tasks[0].headline[0]
    with pytest.raises(ZooError, match=r"'coverage_digitcnn'; did you mean 'coverage_digitscnn'.*task digits"):
        suites.load(mine(tmp_path, '["coverage_digitcnn"]'))
    with pytest.raises(ZooError, match="unknown metric of a headline 'prdc_digitscnn'"):
        suites.load(mine(tmp_path, '["prdc_digitscnn"]'))
    four = [f"{kind}_digitscnn" for kind in ("precision", "recall", "density", "coverage")]
    assert len(suites.load(mine(tmp_path, str(four))).tasks[0].headline) == 4
    with pytest.raises(ZooError, match="a headline of at most 4 metrics, got 5"):
        suites.load(mine(tmp_path, str(["bits_per_dim", *four])))


def test_a_metric_that_says_nothing_of_its_entries_is_called_by_its_name() -> None:
    spec = registry.metrics.get("bits_per_dim")
    assert "entries" not in spec.params
    assert suites.headline("quick@1/digits")[0] == spec.name


def test_cards_of_any_version_are_shown_by_the_headline_that_there_is() -> None:
    (task,) = suites.load("quick").tasks
    assert suites.headline("quick@1/digits") == suites.headline("quick@7/digits") == task.headline
    for unknown in ("quick@1/letters", "judge@1/digits-01234567", "data@1/digits", "nothing"):
        assert suites.headline(unknown) == ()
    part, digits = suites.load("small/fashion"), suites.load("small/digits").tasks[0]
    assert suites.headline("small@2/digits", part) == digits.headline


def test_a_suite_of_ones_own_names_its_headline_too(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    numbers = likelihood(2.0, "="), distance(0.5), entry("coverage_digitscnn", 0.25, reference="test")
    folder = saved([card("a", *numbers, task="mine@1/digits")], tmp_path / "runs")
    usual = report(folder)
    assert "fd pixels" in usual and "coverage" not in usual
    own = report(folder, suite=mine(tmp_path, '["coverage_digitscnn"]'))
    assert "coverage digitscnn (test)" in own and "fd pixels" not in own and "bits/dim" not in own


@pytest.mark.parametrize(
    ("data", "task"),
    [("digits", "quick@1/digits"), ("mnist_bin", "mnist-nll@1/mnist_bin"), ("fashion", "small@2/fashion"),
     ("mnist_stacked", "modes@1/mnist_stacked")],
)  # fmt: skip
def test_a_data_set_without_a_suite_named_is_that_of_likelihoods_if_there_is_one(data: str, task: str) -> None:
    suite, found = suites.find_task(data)
    assert suite.task_id(found) == task
