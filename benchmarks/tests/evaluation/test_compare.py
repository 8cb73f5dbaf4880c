"""`zoo compare`: the paired difference, what it proves, and what it refuses."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from zoo_bench import metric
from zoo_bench.cards import files
from zoo_bench.cards.types import SCHEMA, Card, Relation
from zoo_bench.commands.compare import compare as command
from zoo_bench.evaluation.compare import compare, find
from zoo_bench.reports import tables as reporting

from zoo_core.errors import ZooError

N, SHAPE = 200, [1, 4, 4]
IDENTITY: dict[str, Any] = {"task": "t@1/x", "conditioning": "none", "split": "test", "n": N}


def written(folder: Path, name: str, nll: np.ndarray[Any, Any], relation: Relation = "=", **changes: Any) -> Path:
    """The card of a model with these negative log-likelihoods. changes: of its identity."""
    identity = {**IDENTITY, "n": len(nll), **changes}
    interval = {"low": 0.0, "high": 0.0, "method": "normal"}
    value = float(nll.mean()) if np.isfinite(nll).all() else None
    same = {"relation": relation, "interval": interval, "identity": identity, "method": "log_prob"}
    version = changes.get("version", 1)
    entries = [metric(name, version, value, unit=name, **same).to_dict() for name in ("nats", "bits_per_dim")]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.x.nats.npy"
    np.save(file, -nll)
    card = {
        "schema_version": SCHEMA,
        "status": "ok",
        "error": None,
        "task": {"id": identity["task"], "version": 1, "sha256": hashlib.sha256(identity["task"].encode()).hexdigest()},
        "model": {"name": name, "tag": "x", "family": "test", "conditioning": identity["conditioning"]},
        "data": {
            "name": "x",
            "split": identity["split"],
            "n": len(nll),
            "sha256": hashlib.sha256(identity["split"].encode()).hexdigest(),
            "shape": SHAPE,
            "levels": 2,
        },
        "metrics": entries,
        "nats_file": {"name": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()},
    }
    return files.write(Card.of(card), folder)


@pytest.fixture
def nll() -> np.ndarray[Any, Any]:
    return np.random.RandomState(0).gamma(9.0, 10.0, N)


def test_a_model_is_no_better_than_itself(nll: Any, tmp_path: Path) -> None:
    path = written(tmp_path, "one", nll)
    result = compare(path, path)
    assert (result.difference, result.half_width, result.better) == (0.0, 0.0, None)
    assert "no difference is proven" in result.verdict


def test_the_interval_is_the_closed_form(nll: Any, tmp_path: Path) -> None:
    """d = 1 for one half of the images and 0 for the other: mean 1/2, sd sqrt(n / (4 (n - 1)))."""
    d = np.arange(N) % 2
    result = compare(written(tmp_path, "a", nll + d), written(tmp_path, "b", nll))
    half = 1.96 * math.sqrt(N / (4 * (N - 1))) / math.sqrt(N)
    assert result.difference == pytest.approx(0.5, rel=1e-12)
    assert result.half_width == pytest.approx(half, rel=1e-12)
    assert result.bits_per_dim == pytest.approx((0.5 / (16 * math.log(2)), half / (16 * math.log(2))), rel=1e-12)
    assert result.better == "b.x"
    swapped = compare(tmp_path / "b.x.t-v1-x.seed0.json", tmp_path / "a.x.t-v1-x.seed0.json", "bits_per_dim")
    assert (swapped.difference, swapped.half_width) == (-result.difference, result.half_width)
    assert swapped.better == "b.x"


@pytest.mark.parametrize(
    ("first", "second", "better", "says"),
    [
        ("=", "=", "low", "low.x is better"),
        ("≤", "=", "low", "low.x is better"),  # the truth about `low` is lower still
        ("=", "≤", None, "high.x is known by a bound"),
        ("≤", "≤", None, "bounds are not ordered"),
        ("≈", "=", None, "an estimate"),
        ("=", "≈", None, "an estimate"),
        ("≤", "≈", None, "an estimate"),
    ],
)
def test_the_verdict_respects_relations(
    first: Relation, second: Relation, better: str | None, says: str, nll: Any, tmp_path: Path
) -> None:
    low, high = written(tmp_path, "low", nll, first), written(tmp_path, "high", nll + 1, second)
    for result in (compare(low, high), compare(high, low)):
        assert result.better == (better and f"{better}.x")
        assert says in result.verdict
        assert abs(result.difference) == pytest.approx(1)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"task": "t@2/x"}, r"task \(t@1/x and t@2/x\)"),
        ({"conditioning": "class"}, r"conditioning \(none and class\)"),
        ({"split": "validation"}, r"split \(test and validation\), split hash"),
        ({"version": 2}, r"metric version \(1 and 2\)"),
        ({"subset": 7}, "in what the cards do not show"),
    ],
)
def test_different_keys_are_refused_by_the_field(changes: Any, named: str, nll: Any, tmp_path: Path) -> None:
    a, b = written(tmp_path, "a", nll), written(tmp_path, "b", nll, **changes)
    with pytest.raises(ZooError, match=f"not comparable: .*{named}"):
        compare(a, b)


def test_another_number_of_images_is_refused(nll: Any, tmp_path: Path) -> None:
    a, b = written(tmp_path, "a", nll), written(tmp_path, "b", nll[:-1])
    with pytest.raises(ZooError, match=r"n \(200 and 199\)"):
        compare(a, b)


def test_files_that_are_not_what_the_card_says_are_refused(nll: Any, tmp_path: Path) -> None:
    a, b = written(tmp_path, "a", nll), written(tmp_path, "b", nll)
    np.save(tmp_path / "b.x.nats.npy", -nll + 1)
    with pytest.raises(ZooError, match="tampered"):
        compare(a, b)
    (tmp_path / "b.x.nats.npy").unlink()
    with pytest.raises(ZooError, match="is missing"):
        compare(a, b)
    nll[3] = np.inf
    with pytest.raises(ZooError, match="1 of 200 images have no probability"):
        compare(a, written(tmp_path, "c", nll))
    with pytest.raises(ZooError, match="no value for each image"):
        compare(a, a, "fd_pixels")
    card = json.loads(a.read_text())
    card["metrics"] = []
    a.write_text(json.dumps(card))
    with pytest.raises(ZooError, match="offers no likelihood"):
        compare(a, a)


def test_names_are_found_in_folders(nll: Any, tmp_path: Path) -> None:
    written(tmp_path / "one" / "cards", "a", nll)
    written(tmp_path / "two" / "cards", "a", nll)  # a copy
    written(tmp_path / "two" / "cards", "b", nll)
    assert find("a.x", [tmp_path]).parent == tmp_path / "one" / "cards"
    with pytest.raises(ZooError, match=r"did you mean 'a.x' or 'b.x'|did you mean 'b.x' or 'a.x'"):
        find("c.x", [tmp_path])
    written(tmp_path / "three" / "cards", "a", nll + 1)
    with pytest.raises(ZooError, match="several cards"):
        find("a.x", [tmp_path])
    with pytest.raises(ZooError, match="does not exist"):
        find("nowhere/a.json", [tmp_path])


def test_the_command_prints_text_and_json(nll: Any, tmp_path: Path) -> None:
    written(tmp_path / "cards", "a", nll)
    written(tmp_path / "cards", "b", nll + 1)
    text = CliRunner().invoke(command, ["a.x", "b.x", "--cards", str(tmp_path)])
    assert text.exit_code == 0, text.output
    assert "a - b = -1.0000 ± 0.0000 nats/image" in text.output
    assert "a.x is better" in text.output
    found = json.loads(CliRunner().invoke(command, ["a.x", "b.x", "--cards", str(tmp_path), "--json"]).output)
    assert found["better"] == "a.x"
    assert found["nats"]["difference"] == pytest.approx(-1)


def test_a_suite_that_was_edited_without_a_new_version_is_refused(nll: Any, tmp_path: Path) -> None:
    """Neither compared nor in one table: fewer draws, say, change no key."""
    one, other = written(tmp_path, "one", nll), written(tmp_path, "other", nll + 1)
    card = json.loads(other.read_text())
    card["task"]["sha256"] = "0" * 64
    other.write_text(json.dumps(card))
    with pytest.raises(ZooError, match="task definition"):
        compare(one, other)
    with pytest.raises(ZooError, match=r"one.*other.*edited"):
        reporting.tables([files.read(one), files.read(other)])


def test_a_task_of_bits_per_dim_alone_is_compared_by_it(nll: Any, tmp_path: Path) -> None:
    """The nats of each image are the same thing in another unit; a trial says that it is one."""
    paths = []
    for name in ("a", "b"):
        path = written(tmp_path / "cards", name, nll + (name == "a"))
        card = files.read(path)
        bits = tuple(entry for entry in card.metrics if entry.id == "bits_per_dim")
        path.unlink()
        paths.append(files.write(card.but(metrics=bits, partial=name == "a"), tmp_path / "cards"))
    result = compare(*paths)
    assert (result.a, result.better) == ("a.x (partial)", "b.x")
    with pytest.raises(ZooError, match=r"no card of 'a\.x'"):  # by its name only complete ones are found
        find("a.x", [tmp_path])
    assert find("b.x", [tmp_path]) == paths[1]
