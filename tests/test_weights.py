"""Weights come back bit for bit, or an error says which file is wrong, what was expected and what to do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import zoo_core
from zoo_core import ImageSpec, WeightsError, ZooError, weights

IMAGES = ImageSpec(channels=1, height=4, width=4, levels=3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Saved weights of a small model that is not as it was initialised."""
    model = zoo_core.create("independent_pixels", IMAGES)
    table = torch.rand(model.log_table.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    model.log_table.copy_(table.log_softmax(-1))
    return weights.save(model, tmp_path / "weights", "independent_pixels", {"images_seen": 7})


def edit(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_weights_come_back_bit_for_bit(folder: Path) -> None:
    first, second = zoo_core.load(str(folder)), zoo_core.load(str(folder))
    assert not first.training
    assert first.images == IMAGES
    x = first.sample(50, generator=torch.Generator().manual_seed(1))
    assert torch.equal(x, second.sample(50, generator=torch.Generator().manual_seed(1)))
    assert torch.equal(first.log_prob(x), second.log_prob(x))
    assert first.log_prob(x).std() > 0.1  # not the uniform model that it was made as


def test_saving_twice_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    again = weights.save(zoo_core.load(str(folder)), tmp_path / "again", "independent_pixels")
    assert weights.sha256_of(folder / weights.TENSORS) == weights.sha256_of(again / weights.TENSORS)


def test_saving_over_old_weights_replaces_them(folder: Path) -> None:
    weights.save(zoo_core.create("independent_pixels", IMAGES), folder, "independent_pixels")
    assert zoo_core.load(str(folder)).log_table.std() == 0
    assert [path.name for path in folder.parent.iterdir()] == ["weights"]


@pytest.mark.parametrize("size", [0, 7, 100, -1])
def test_a_truncated_file_is_refused(folder: Path, size: int) -> None:
    path = folder / weights.TENSORS
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(WeightsError, match=r"model\.safetensors is truncated, tampered .* expected sha256"):
        zoo_core.load(str(folder))


def test_a_flipped_bit_is_refused(folder: Path) -> None:
    path = folder / weights.TENSORS
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(WeightsError, match="tampered"):
        zoo_core.load(str(folder))


def test_a_tampered_file_whose_hash_was_fixed_up_fails_against_the_pinned_hash(folder: Path) -> None:
    pinned = weights.sha256_of(folder / weights.TENSORS)
    weights.save(zoo_core.create("independent_pixels", IMAGES), folder, "independent_pixels")
    with pytest.raises(WeightsError, match=pinned):
        zoo_core.load(str(folder), sha256=pinned)


def test_a_foreign_safetensors_file_is_refused(folder: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(2)}, folder / weights.TENSORS)
    edit(folder, sha256=weights.sha256_of(folder / weights.TENSORS))
    with pytest.raises(WeightsError, match="does not describe"):
        zoo_core.load(str(folder))


def test_a_changed_config_is_refused(folder: Path) -> None:
    edit(folder, config={"alpha": 2.0})
    with pytest.raises(WeightsError, match=r"config\.json does not describe model\.safetensors"):
        zoo_core.load(str(folder))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config": {"alpa": 1.0}}, r"SmoothedConfig\.alpa: unknown key; did you mean 'alpha'"),
        ({"config": {"alpha": "a"}}, r"SmoothedConfig\.alpha: expected float, got 'a'"),
        ({"images": {"channels": 1, "height": 4, "width": 4, "levels": 300}}, "expected 2 to 256"),
        ({"format": 99, "zoo": "9.0"}, r"format 99 by zoo 9\.0; .*upgrade"),
        ({"model": "nobody"}, "weights of 'nobody', which no installed plugin offers"),
        ({"format": "x"}, "is not a zoo config"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(folder: Path, changes: dict[str, object], message: str) -> None:
    edit(folder, **changes)
    with pytest.raises(ZooError, match=message):
        zoo_core.load(str(folder))


def test_a_missing_key_or_broken_json_is_named(folder: Path) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in config.items() if key != "sha256"}))
    with pytest.raises(WeightsError, match="lacks sha256"):
        zoo_core.load(str(folder))
    path.write_text('{"format": 1, ')
    with pytest.raises(WeightsError, match="is not a zoo config"):
        zoo_core.load(str(folder))


def test_a_tensor_of_another_shape_or_name_is_named(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / weights.TENSORS
    header = json.dumps(
        {key: json.loads((folder / "config.json").read_text())[key] for key in ("model", "images", "config")}
    )
    tensors = load_file(path)
    for change, message in (
        ({"log_table": torch.zeros(1, 16, 2, dtype=torch.float64)}, r"not of the expected shape: .*log_table"),
        ({"extra": torch.zeros(1)}, "'extra' belongs to no part of IndependentPixels"),
    ):
        save_file({**tensors, **change}, path, metadata={"zoo": header})
        edit(folder, sha256=weights.sha256_of(path))
        with pytest.raises(WeightsError, match=message):
            zoo_core.load(str(folder))
    save_file({"log_weights": tensors["log_weights"]}, path, metadata={"zoo": header})
    edit(folder, sha256=weights.sha256_of(path))
    with pytest.raises(WeightsError, match="is missing"):
        zoo_core.load(str(folder))


@pytest.mark.parametrize("name", ["model.pth", "model.pt", "pytorch_model.bin", "last.ckpt", "net.pkl"])
def test_a_pickle_is_refused_unread(tmp_path: Path, name: str) -> None:
    """The file, and a folder that holds nothing better; the pickle would create a file if it were opened."""
    import pickle

    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (open, (str(tmp_path / "exploded"), "w"))

    (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
    for given in (tmp_path / name, tmp_path):
        with pytest.raises(WeightsError, match=r"is a pickle, .* reads only safetensors"):
            zoo_core.load(str(given))
    assert not (tmp_path / "exploded").exists()


def test_what_is_no_weights_folder_is_explained(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such folder"):
        zoo_core.load(str(tmp_path / "nowhere"))
    with pytest.raises(WeightsError, match="give the folder"):
        zoo_core.load(str(folder / weights.TENSORS))
    (folder / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"config\.json is missing"):
        zoo_core.load(str(folder))


def test_a_full_disk_leaves_the_old_weights_and_nothing_else(folder: Path) -> None:
    """A real limit on file size stands in for the full disk: the write fails in the middle."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    code = (
        "import resource, sys, zoo_core; from zoo_core import ImageSpec, weights\n"
        "model = zoo_core.create('independent_pixels', ImageSpec(channels=1, height=64, width=64, levels=256))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try: weights.save(model, sys.argv[1], 'independent_pixels')\n"
        "except Exception as error: print(type(error).__name__, error); sys.exit(7)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 7, done.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == ["weights"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("independent_pixels", "is a model without weights"),
        ("independent_pixels.digits", "unknown weights 'independent_pixels.digits'"),
        ("independant_pixels", "did you mean 'independent_pixels'"),
        ("hf:not a name", "not a Hub repository name"),
        ("hf:nobody/nothing", "not in the cache, and the Hub cannot be reached"),
    ],
)
def test_names_that_lead_nowhere(name: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ZooError, match=message):
        zoo_core.load(name)


def test_create_wants_a_bare_name_and_its_own_config() -> None:
    with pytest.raises(ZooError, match="names weights: use load"):
        zoo_core.create("made.digits", IMAGES)
    with pytest.raises(ZooError, match="unknown key"):
        zoo_core.create("independent_pixels", IMAGES, alhpa=2.0)
    with pytest.raises(ZooError, match="expected an ImageSpec"):
        zoo_core.create("independent_pixels", (1, 4, 4))
    assert zoo_core.create("independent_pixels", IMAGES, alpha=2).config.alpha == 2.0
