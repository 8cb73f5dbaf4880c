"""Turned and scaled digits: the maps are what they are called, and cards of several sets keep their own nats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from zoo_bench import evaluate
from zoo_bench.cards import files
from zoo_bench.datasets import load as data
from zoo_bench.datasets import transformed


def test_a_quarter_turn_moves_pixels_and_changes_none() -> None:
    x = data.load("digits", "test").pinned.x.numpy()[:5]
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    found = transformed.moved(x, np.broadcast_to(turn, (5, 2, 2)))
    assert np.array_equal(found, np.rot90(x, -1, (2, 3)))
    assert np.array_equal(transformed.moved(x, np.broadcast_to(np.eye(2), (5, 2, 2))), x)


def test_half_the_size_leaves_a_margin_and_about_a_quarter_of_the_ink() -> None:
    x = data.load("digits", "test").pinned.x.numpy().astype(np.uint8)
    found = transformed.moved(x, np.broadcast_to(2 * np.eye(2), (len(x), 2, 2)))
    assert not found[:, :, [0, 1, -2, -1]].any() and not found[..., [0, 1, -2, -1]].any()
    assert 0.2 < found.sum() / x.sum() < 0.3


def test_each_split_has_draws_of_its_own_and_the_union_is_all_three() -> None:
    parts = [data.load(name, "test").pinned.x for name in ("digits", "digits_rotated", "digits_rescaled")]
    union = data.load("digits_transformed", "test").pinned.x
    assert np.array_equal(union, np.concatenate(parts))
    assert all(int(part.max()) <= 16 for part in parts)
    assert not np.array_equal(parts[0], parts[1]) and not np.array_equal(parts[0], parts[2])


def test_weights_scored_on_several_sets_in_one_folder_keep_the_nats_of_each(tmp_path: Path) -> None:
    for name in ("digits", "digits_rotated", "digits_rescaled"):
        evaluate("fvsbn.digits", data=name, out=tmp_path)
    found = files.read_all([tmp_path])
    assert len(found) == 3
    means = {}
    for card in found:
        nats = np.load(tmp_path / card.nats_file.name)
        (metric,) = [metric for metric in card.metrics if metric.id == "nats"]
        assert abs(-nats.mean() - metric.value) < 1e-6 or abs(nats.mean() - metric.value) < 1e-6
        means[card.data.name] = metric.value
    assert means["digits"] < min(means["digits_rotated"], means["digits_rescaled"])
