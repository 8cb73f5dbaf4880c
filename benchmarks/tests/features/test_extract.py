"""Features are a function of pixels and weights: of no batch, order, process, cache, file name or random state."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
import types
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from extracting import BYTES, COLOUR, DIGITS, SHIPPED, SPECS, needs_data, pictures, random_states
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from zoo_bench.datasets import load as data
from zoo_bench.features import imagenet, resizing, smallcnn, weightfiles
from zoo_bench.features.extract import MissingWeights, extract

from zoo_core import ImageSpec, ZooError, registry
from zoo_core.errors import WeightsError
from zoo_core.specs import ExtractorSpec

pytestmark = pytest.mark.usefixtures("own_cache")


class Shares:
    """In turn, but it remembers how many chunks were asked for: `[1]` is an answer out of the cache."""

    def __init__(self) -> None:
        self.counts: list[int] = []

    def __call__(self, count: int, compute: Callable[[int], torch.Tensor]) -> list[torch.Tensor]:
        self.counts.append(count)
        return [compute(c) for c in range(count)]


# Laws that every extractor keeps


@pytest.mark.parametrize("name", SHIPPED)
def test_features_are_a_function_of_each_image_alone(name: str) -> None:
    """Deterministic to the bit; whatever the batch and the order, equal up to rounding."""
    spec, images = SPECS[name], SHIPPED[name]
    x = pictures(images, 23)
    done: list[int] = []
    found = extract(spec, x, images, batch=8, cache=None, progress=done.append)
    again = extract(spec, x, images, batch=8, cache=None)
    assert torch.equal(found.values, again.values)
    assert done == [8, 8, 7]
    assert found.values.shape == (23, spec.dims or images.dims)
    assert found.values.dtype == torch.float32
    assert (found.logits is None) == (name == "pixels")
    scale = float(found.values.std())
    other = extract(spec, x, images, batch=5, cache=None)
    torch.testing.assert_close(other.values, found.values, rtol=1e-4, atol=1e-4 * scale)
    order = torch.randperm(23, generator=torch.Generator().manual_seed(1))
    moved = extract(spec, x[order], images, batch=8, cache=None)
    torch.testing.assert_close(moved.values, found.values[order], rtol=1e-4, atol=1e-4 * scale)
    if found.logits is not None and moved.logits is not None:
        torch.testing.assert_close(moved.logits, found.logits[order], rtol=1e-3, atol=1e-3)
    assert len(found.values.unique(dim=0)) == 23  # they tell the images apart


@pytest.mark.parametrize("name", SHIPPED)
def test_random_states_are_left_alone(name: str) -> None:
    spec, images = SPECS[name], SHIPPED[name]
    before = random_states()
    extract(spec, pictures(images, 3), images)
    assert random_states() == before


def test_processes_that_share_give_what_one_gives() -> None:
    """Whoever computes a chunk, in whatever order, it is computed once and is the same."""
    x, computed = pictures(DIGITS, 50), []

    def backwards(count: int, compute: Callable[[int], torch.Tensor]) -> list[torch.Tensor]:
        computed.extend(reversed(range(count)))
        return list(reversed([compute(c) for c in reversed(range(count))]))

    one = extract(SPECS["digitscnn"], x, DIGITS, batch=7, cache=None)
    shared = extract(SPECS["digitscnn"], x, DIGITS, batch=7, cache=None, share=backwards)
    assert sorted(computed) == list(range(8))
    assert torch.equal(one.values, shared.values)


SCRIPT = """
import sys, torch
from zoo_bench import processes
from zoo_bench.features import specs as extractor_specs
from zoo_bench.features.extract import MissingWeights, extract
from zoo_bench.features.smallcnn import RECIPES
images = RECIPES["digitscnn"].images
spec = next(spec for spec in extractor_specs.EXTRACTORS if spec.name == "digitscnn")
x = torch.randint(17, (53, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
done = []
missing = next(spec for spec in extractor_specs.EXTRACTORS if spec.name == "dinov2")
try:
    extract(missing, x[:20], images, share=processes.share)  # one batch: the other process has nothing to do
except MissingWeights:
    done.append(0)
for turn in range(2):
    found = extract(spec, x, images, batch=10, share=processes.share, progress=done.append)
    torch.save([found.values, found.logits, done], f"{sys.argv[1]}.{processes.start().process_index}.{turn}.pt")
if torch.distributed.is_initialized():
    torch.distributed.barrier()  # a process that leaves early can end the other's connection
    torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_real_processes_are_one(tmp_path: Path) -> None:
    """Nothing twice, everybody gets everything; the second time out of the cache."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    two = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    for command, name in (([sys.executable], "one"), (two, "two")):
        env = {**os.environ, "OMP_NUM_THREADS": "1", "ZOO_CACHE": str(tmp_path / name)}
        done = subprocess.run([*command, script, tmp_path / name], capture_output=True, text=True, env=env, timeout=300)
        assert done.returncode == 0, done.stderr
    values, logits, done = torch.load(tmp_path / "one.0.0.pt")
    assert done[0] == 0
    assert sum(done) == 53
    seen = 0
    for rank in range(2):
        for turn in range(2):
            their_values, their_logits, their_done = torch.load(tmp_path / f"two.{rank}.{turn}.pt")
            assert torch.equal(their_values, values)
            assert torch.equal(their_logits, logits)
            assert their_done[0] == 0  # the weights are missing on every process, with and without a batch
            seen += sum(their_done) if turn == 0 else 0
    assert seen == 53


def test_extractors_are_found_by_name() -> None:
    assert set(SPECS) <= {spec.name for spec in registry.extractors.all()}
    x = pictures(DIGITS, 4)
    assert torch.equal(extract("pixels", x, DIGITS).values, x.flatten(1) / 16)
    with pytest.raises(ZooError, match="unknown extractor 'pixel'; did you mean 'pixels'"):
        extract("pixel", x, DIGITS)


# The cache


def test_the_cache_returns_the_same_bits_and_is_keyed_by_content() -> None:
    spec, x = SPECS["digitscnn"], pictures(DIGITS, 30)
    first = extract(spec, x, DIGITS)
    hit, changed_pixel, changed_levels, changed_identity = (Shares() for _ in range(4))
    second = extract(spec, x.clone(), DIGITS, share=hit)
    assert hit.counts == [1]
    assert torch.equal(second.values, first.values)
    assert torch.equal(second.logits, first.logits)
    y = x.clone()
    y[17, 0, 3, 3] += 1 if y[17, 0, 3, 3] < 16 else -1
    third = extract(spec, y, DIGITS, share=changed_pixel)
    assert changed_pixel.counts == [1, 1]  # looked, then computed its one batch
    assert not torch.equal(third.values[17], first.values[17])
    assert torch.equal(third.values[:17], first.values[:17])
    extract(SPECS["pixels"], x, DIGITS)
    extract(SPECS["pixels"], x, replace(DIGITS, levels=18), share=changed_levels)
    assert changed_levels.counts == [1, 1]
    extract(replace(SPECS["pixels"], resize="none, by another name"), x, DIGITS, batch=30, share=changed_identity)
    assert changed_identity.counts == [1, 1]
    with pytest.raises(WeightsError, match="sha256 is"):  # other weights are not found under the old ones' features
        extract(replace(spec, sha256="0" * 64), x, DIGITS)


@pytest.mark.parametrize("damage", ["truncated", "empty", "one bit", "not even a file of tensors", "fewer images"])
def test_a_damaged_cache_is_not_trusted(damage: str, tmp_path: Path) -> None:
    spec, x = SPECS["digitscnn"], pictures(DIGITS, 30)
    first = extract(spec, x, DIGITS, cache=tmp_path / "features")
    (path,) = (tmp_path / "features").glob("*.safetensors")
    content = path.read_bytes()
    if damage == "fewer images":
        tensors = {"features": load_file(path)["features"][:20]}
        save_file(tensors, path, metadata={"sha256": hashlib.sha256(tensors["features"].numpy().data).hexdigest()})
    else:
        bad = bytearray(content)
        bad[-100] ^= 1
        other = {"truncated": content[:-50], "empty": b"", "one bit": bytes(bad)}
        path.write_bytes(other.get(damage, b"nonsense" * 100))
    shares = Shares()
    again = extract(spec, x, DIGITS, cache=tmp_path / "features", share=shares)
    assert shares.counts == [1, 1]
    assert torch.equal(again.values, first.values)
    assert path.read_bytes() == content  # and it is whole again


def test_a_cache_that_cannot_be_written_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    found = extract(SPECS["pixels"], pictures(DIGITS, 4), DIGITS, cache=tmp_path / "file")
    assert found.values.shape == (4, 64)


# What is refused


def test_images_that_a_classifier_was_not_made_for_are_named() -> None:
    for name, images in (("mnistcnn", DIGITS), ("digitscnn", BYTES), ("fashioncnn", replace(BYTES, channels=3))):
        with pytest.raises(ZooError, match=f"{name}.*takes images of .* got {images.channels}x{images.height}"):
            extract(SPECS[name], pictures(images, 2), images)
    with pytest.raises(ZooError, match="takes images of 1 or 3 channels"):
        two = replace(COLOUR, channels=2)
        extract(SPECS["inception"], pictures(two, 2), two)


def test_bad_input_is_refused() -> None:
    with pytest.raises(ZooError, match="'pixels': expected at least one image, got none"):
        extract(SPECS["pixels"], torch.empty(0, 1, 8, 8, dtype=torch.uint8), DIGITS)
    with pytest.raises(ZooError, match="expected uint8 pixels"):
        extract(SPECS["pixels"], torch.rand(2, 1, 8, 8), DIGITS)
    with pytest.raises(ZooError, match="batch: expected at least 1, got -1"):
        extract(SPECS["pixels"], pictures(DIGITS, 2), DIGITS, batch=-1)
    assert extract(SPECS["pixels"], pictures(DIGITS, 1), DIGITS).values.shape == (1, 64)


def test_features_that_are_no_numbers_name_their_extractor(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = types.SimpleNamespace(load=lambda spec, images, device: lambda x: x.float().flatten(1).log())
    monkeypatch.setitem(sys.modules, "broken_extractor", broken)
    spec = ExtractorSpec(name="logarithm", target="broken_extractor:load", dims=None)
    with pytest.raises(ZooError, match="extractor 'logarithm' gave NaN or infinity"):
        extract(spec, pictures(DIGITS, 3) * 0, DIGITS)
    with pytest.raises(ZooError, match="'logarithm': expected 5 features per image, got 64"):
        extract(replace(spec, dims=5), pictures(DIGITS, 3), DIGITS)


@pytest.mark.parametrize("name", ["inception", "dinov2", "clip", "efficientnet_lite0"])
def test_missing_weights_name_the_file_the_places_and_the_hash(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imagenet, "PACKAGE", "efficientnet_that_is_not_installed")
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    monkeypatch.setenv("ZOO_DATA", str(tmp_path))
    with pytest.raises(MissingWeights) as caught:
        extract(SPECS[name], pictures(COLOUR, 2), COLOUR)
    error = pickle.loads(pickle.dumps(caught.value))
    assert error.sha256 == SPECS[name].sha256
    assert error.file.startswith("extractors/")
    assert str(error) == str(caught.value)
    for part in (error.file, error.sha256, str(tmp_path / "extractors"), name):
        assert part in str(error)


# The classifiers of this package


@pytest.mark.parametrize("name", smallcnn.RECIPES)
def test_shipped_weights_say_where_they_come_from(name: str) -> None:
    path = Path(smallcnn.__file__).parent / "extractor_weights" / f"{name}.safetensors"
    recipe = smallcnn.RECIPES[name]
    assert path.stat().st_size < 2**20
    with safe_open(path, framework="pt") as file:
        notes = json.loads(file.metadata()[smallcnn.NOTES])
    assert notes["recipe"] == json.loads(json.dumps(asdict(recipe)))
    assert notes["data_sha256"] == data.find(recipe.data).splits["train"]
    assert notes["test_accuracy"] >= recipe.required


@pytest.mark.parametrize(
    "name",
    ["digitscnn", *(pytest.param(name, marks=[pytest.mark.slow, needs_data]) for name in ("mnistcnn", "fashioncnn"))],
)
def test_shipped_classifiers_are_as_good_as_they_say(name: str) -> None:
    test = data.load(smallcnn.RECIPES[name].data, "test").pinned
    path = Path(smallcnn.__file__).parent / "extractor_weights" / f"{name}.safetensors"
    with safe_open(path, framework="pt") as file:
        promised = json.loads(file.metadata()[smallcnn.NOTES])["test_accuracy"]
    logits = extract(SPECS[name], test.x, smallcnn.RECIPES[name].images).logits
    reached = float((logits.argmax(1) == test.labels).double().mean())
    assert reached == pytest.approx(promised, abs=1.5 / len(test))  # rounding may turn one image
    assert reached >= smallcnn.RECIPES[name].required


def test_tampered_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "extractor_weights"
    folder.mkdir()
    source = Path(smallcnn.__file__).parent / "extractor_weights" / "digitscnn.safetensors"
    content = bytearray(source.read_bytes())
    content[-1000] ^= 1
    (folder / source.name).write_bytes(content)
    monkeypatch.setattr(weightfiles, "__file__", str(tmp_path / "weightfiles.py"))
    with pytest.raises(WeightsError, match=r"digitscnn.safetensors: sha256 is .* tampered"):
        extract(SPECS["digitscnn"], pictures(DIGITS, 2), DIGITS)
    (folder / source.name).unlink()
    with pytest.raises(MissingWeights, match=r"digitscnn.safetensors are not here"):
        extract(SPECS["digitscnn"], pictures(DIGITS, 2), DIGITS)


def test_shifts_move_each_image_as_a_whole() -> None:
    x = torch.zeros(200, 1, 8, 8, dtype=torch.uint8)
    x[:, 0, 3, 4], x[:, 0, 4, 4] = 7, 9
    moved = smallcnn.shifted(x, 2, torch.Generator().manual_seed(0))
    places = {tuple((image[0] == 7).nonzero()[0].tolist()) for image in moved}
    assert places == {(3 + dy, 4 + dx) for dy in range(-2, 3) for dx in range(-2, 3)}
    for image in moved:
        top, left = (image[0] == 7).nonzero()[0].tolist()
        assert image[0, top + 1, left] == 9
        assert image.sum() == 16


@pytest.mark.slow
def test_the_recipe_trains_the_digits_anew_and_leaves_the_random_state_alone() -> None:
    before = random_states()
    weights, notes = smallcnn.train("digitscnn", say=lambda line: None)
    assert random_states() == before
    assert notes["test_accuracy"] >= 0.97
    assert weights.keys() == weightfiles.shipped(SPECS["digitscnn"]).keys()
    with pytest.raises(ZooError, match=r"test accuracy .* required 0.97; no weights were written"):
        smallcnn.train("digitscnn", say=lambda line: None, epochs=1, lr=1e-6)


# Resizing


@pytest.mark.parametrize("size", [224, 9])
def test_the_bicubic_resize_is_pillows(size: int) -> None:
    x = torch.randint(256, (2, 3, 32, 27), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    ours = resizing.bicubic(x, size, rounded=True)
    exact = resizing.bicubic(x, size, rounded=False)
    for image, rounded, real in zip(x, ours, exact):
        picture = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((size, size), Image.Resampling.BICUBIC)
        difference = (rounded.permute(1, 2, 0) - torch.from_numpy(np.array(picture)).float()).abs()
        assert float(difference.max()) <= 1
        assert float((difference > 0).float().mean()) < 0.01  # where Pillow's fixed-point weights round otherwise
        for channel, expected in zip(image, real):
            floats = Image.fromarray(channel.float().numpy()).resize((size, size), Image.Resampling.BICUBIC)
            torch.testing.assert_close(expected, torch.from_numpy(np.array(floats)), rtol=0, atol=1e-2)


@pytest.mark.parametrize("name", ["fashioncnn", "efficientnet_lite0"])
def test_levels_are_scaled(name: str) -> None:
    """A binary image is the byte image of black and white."""
    spec, binary = SPECS[name], replace(BYTES, levels=2)
    x = pictures(binary, 4)
    one, other = extract(spec, x, binary), extract(spec, x * 255, BYTES)
    assert torch.equal(one.values, other.values)


def test_grey_levels_become_bytes_of_three_channels() -> None:
    x = torch.tensor([0, 8, 16], dtype=torch.uint8).reshape(1, 1, 1, 3)
    found = resizing.to_bytes(x, ImageSpec(channels=1, height=1, width=3, levels=17))
    assert found.shape == (1, 3, 1, 3)
    assert found[0, :, 0].tolist() == [[0, 128, 255]] * 3
