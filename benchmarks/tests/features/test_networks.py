"""Networks of other people are theirs to the last digit, and torch-fidelity sees the same features."""

from __future__ import annotations

import hashlib
import io
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from extracting import BYTES, COLOUR, DIGITS, SPECS, pictures, random_states
from PIL import Image
from zoo_bench.features import clip as clip_features
from zoo_bench.features import dinov2, imagenet, inception, resizing
from zoo_bench.features import extract as extractors
from zoo_bench.features.extract import extract
from zoo_bench.metrics import frechet
from zoo_bench.metrics import torch_fidelity as fidelity

from zoo_core import ImageSpec, ZooError
from zoo_core.errors import WeightsError
from zoo_core.specs import ExtractorSpec

pytestmark = pytest.mark.usefixtures("own_cache")


def test_efficientnet_sees_what_is_in_photographs() -> None:
    """scikit-learn's two photographs: a temple and a flower, by ImageNet's classes."""
    from sklearn.datasets import load_sample_image

    for name, classes in (("china.jpg", range(400, 900)), ("flower.jpg", range(984, 987))):
        x = torch.tensor(load_sample_image(name)).permute(2, 0, 1)[None].contiguous()
        images = ImageSpec(channels=3, height=x.shape[2], width=x.shape[3])
        logits = extract(SPECS["efficientnet_lite0"], x, images).logits
        top = logits[0].topk(5).indices.tolist()
        assert set(top) & set(classes), (name, top)


def test_efficientnet_is_tampered_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagenet, "PACKAGE", "efficientnet_that_is_not_installed")
    monkeypatch.setenv("ZOO_DATA", str(tmp_path))
    (tmp_path / "extractors").mkdir()
    torch.save({"_fc.weight": torch.zeros(2)}, tmp_path / "extractors" / imagenet.FILE)
    with pytest.raises(WeightsError, match="tampered"):
        extract(SPECS["efficientnet_lite0"], pictures(COLOUR, 2), COLOUR)
    content = (tmp_path / "extractors" / imagenet.FILE).read_bytes()
    spec = replace(SPECS["efficientnet_lite0"], sha256=hashlib.sha256(content).hexdigest())
    with pytest.raises(WeightsError, match="does not fit timm's network"):
        extract(spec, pictures(COLOUR, 2), COLOUR)


def pinned(spec: ExtractorSpec, folder: Path, name: str, monkeypatch: pytest.MonkeyPatch, **changes) -> ExtractorSpec:
    """The extractor with the file `name` of this folder as its pinned weights, found through ZOO_DATA."""
    monkeypatch.setenv("ZOO_DATA", str(folder))
    sha256 = hashlib.sha256((folder / "extractors" / name).read_bytes()).hexdigest()
    return replace(spec, sha256=sha256, **changes)


def test_inception_is_torch_fidelitys_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With random weights in a local file: the same numbers as the network itself; a changed file is refused."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class Unloaded(FeatureExtractorInceptionV3):
        def load_state_dict(self, state_dict: object, **options: object) -> None:
            pass

    empty = io.BytesIO()
    torch.save({}, empty)
    empty.seek(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = Unloaded("random", ["2048", "logits_unbiased"], feature_extractor_weights_path=empty)
    (tmp_path / "extractors").mkdir()
    path = tmp_path / "extractors" / inception.FILES[1]
    torch.save(theirs.state_dict(), path)
    spec = pinned(SPECS["inception"], tmp_path, path.name, monkeypatch)
    grey = ImageSpec(channels=1, height=9, width=9, levels=17)
    x = pictures(grey, 2)
    found = extract(spec, x, grey)
    values, logits = theirs((x.float() * 255 / 16).round().to(torch.uint8).repeat(1, 3, 1, 1))
    torch.testing.assert_close(found.values, values)
    torch.testing.assert_close(found.logits, logits)
    assert found.identity == {"extractor": "inception", "sha256": spec.sha256, "resize": "tf1-bilinear-299"}
    extractors.network.cache_clear()
    with path.open("r+b") as file:
        file.seek(-5000, 2)
        file.write(b"\1")
    with pytest.raises(WeightsError, match=f"{path.name}: sha256 is"):
        extract(spec, x, grey, cache=None)
    path.write_bytes(pickle.dumps(Path("anything but tensors")))  # right by its hash, and still no code is run
    with pytest.raises(WeightsError, match="cannot be read as weights"):
        extract(pinned(spec, tmp_path, path.name, monkeypatch), x, grey)


def test_dinov2_is_the_class_token_of_timms_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With random weights of the small one: the resize by Pillow, the mean and deviation and the network by hand."""
    import timm

    small = "vit_small_patch14_dinov2"
    monkeypatch.setattr(dinov2, "ARCHITECTURE", small)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        published = timm.create_model(small, num_classes=0)  # positions of 518 pixels, as published
        network = timm.create_model(small, num_classes=0, img_size=224).eval()
    tensors = published.state_dict() | {"mask_token": torch.zeros(1, 384)}
    (tmp_path / "extractors").mkdir()
    torch.save(tensors, tmp_path / "extractors" / dinov2.FILE)
    spec = pinned(SPECS["dinov2"], tmp_path, dinov2.FILE, monkeypatch, dims=384)
    x = pictures(COLOUR, 2)
    found = extract(spec, x, COLOUR)
    assert found.identity["note"] == "not verified with the published weights"
    network.load_state_dict(timm.models.vision_transformer.checkpoint_filter_fn(dict(tensors), network))
    resized = [
        np.array(Image.fromarray(image.permute(1, 2, 0).numpy()).resize((224, 224), Image.Resampling.BICUBIC))
        for image in x
    ]
    v = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2) / 255
    v = (v - torch.tensor(dinov2.MEAN)[:, None, None]) / torch.tensor(dinov2.STD)[:, None, None]
    with torch.no_grad():
        expected = network.forward_features(v)[:, 0]
    torch.testing.assert_close(found.values, expected, rtol=1e-2, atol=1e-2)


class Folder(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def archive(tensors: dict[str, torch.Tensor]) -> torch.jit.ScriptModule:
    """A TorchScript module that holds these tensors under their dotted names."""
    root = Folder()
    for name, value in tensors.items():
        *path, last = name.split(".")
        owner: torch.nn.Module = root
        for part in path:
            if part not in dict(owner.named_children()):
                owner.add_module(part, Folder())
            owner = owner.get_submodule(part)
        owner.register_buffer(last, value)
    return torch.jit.script(root)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_clip_gives_unit_vectors_of_images_and_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With random weights of a small one, from a TorchScript archive as OpenAI's is, and from a file of tensors."""
    from open_clip.model import CLIP

    small = {
        "embed_dim": 16,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 28, "layers": 2, "width": 32, "head_width": 16, "patch_size": 14},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    monkeypatch.setattr(clip_features, "configuration", lambda: small)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = CLIP(**small).eval()
    (tmp_path / "extractors").mkdir()
    path = tmp_path / "extractors" / clip_features.FILE
    halves = {key: value.half() for key, value in network.state_dict().items()}
    network.load_state_dict(halves)
    torch.jit.save(archive(halves | {"input_resolution": torch.tensor(28), "vocab_size": torch.tensor(49408)}), path)
    spec = pinned(SPECS["clip"], tmp_path, path.name, monkeypatch, dims=16)
    x = pictures(COLOUR, 5)
    found = extract(spec, x, COLOUR).values
    torch.testing.assert_close(found.norm(dim=1), torch.ones(5))
    v = resizing.normalise(resizing.bicubic(x, 28, rounded=False), clip_features.MEAN, clip_features.STD)
    with torch.no_grad():
        torch.testing.assert_close(found, network.encode_image(v, normalize=True))
    before = random_states()
    text = clip_features.text_features(spec, ["a red apple", "a house", "a red apple"])
    assert random_states() == before
    torch.testing.assert_close(text.norm(dim=1), torch.ones(3))
    assert torch.equal(text[0], text[2])
    assert not torch.allclose(text[0], text[1])
    torch.save(network.state_dict(), path)
    plain = pinned(spec, tmp_path, path.name, monkeypatch)
    torch.testing.assert_close(clip_features.text_features(plain, ["a house"]), text[1:2])
    assert clip_features.prompts_sha256(["a", "b"]) != clip_features.prompts_sha256(["b", "a"])
    with pytest.raises(ZooError, match="at least one prompt"):
        clip_features.text_features(plain, [])


# torch-fidelity as a second opinion


@pytest.fixture(scope="module")
def two_sets() -> tuple[torch.Tensor, torch.Tensor]:
    return pictures(BYTES, 700, seed=1), pictures(BYTES, 800, seed=2).flip(3) // 2


def test_torch_fidelity_finds_the_same_frechet_distance(two_sets: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, y = two_sets
    before = random_states()
    theirs = fidelity.run(x, y, BYTES, SPECS["fashioncnn"], ("fid", "isc", "prc"), splits=5, batch=64)
    assert random_states() == before
    a, b = (extract(SPECS["fashioncnn"], z, BYTES).values for z in (x, y))
    ours = frechet.frechet_distance(frechet.fit(a), frechet.fit(b))
    assert ours > 0.1
    assert ours == pytest.approx(theirs["frechet_inception_distance"], rel=1e-6)
    assert 1 < theirs["inception_score_mean"] <= 10
    assert 0 <= theirs["precision"] <= 1


def test_torch_fidelity_is_given_the_same_features(two_sets: tuple[torch.Tensor, torch.Tensor]) -> None:
    """Its KID of the images is its KID of our features."""
    from torch_fidelity.metric_kid import kid_features_to_metric

    x, y = two_sets
    theirs = fidelity.run(x, y, BYTES, SPECS["fashioncnn"], ("kid",), subsets=20, subset_size=100, seed=5)
    a, b = (extract(SPECS["fashioncnn"], z, BYTES).values.double() for z in (x, y))
    again = kid_features_to_metric(a, b, kid_subsets=20, kid_subset_size=100, rng_seed=5, verbose=False)
    assert theirs == pytest.approx(again, rel=1e-6)


def test_torch_fidelity_does_not_remember_by_name(two_sets: tuple[torch.Tensor, torch.Tensor]) -> None:
    """Other images under the same extractor have another distance: nothing stale."""
    x, y = two_sets
    one = fidelity.run(x[:200], y[:200], BYTES, SPECS["fashioncnn"], ("fid",))
    two = fidelity.run(x[200:400], y[:200], BYTES, SPECS["fashioncnn"], ("fid",))
    assert one != two
    assert one == fidelity.run(x[:200], y[:200], BYTES, SPECS["fashioncnn"], ("fid",))


def test_torch_fidelity_refuses_what_it_would_get_wrong() -> None:
    x = pictures(DIGITS, 20)
    with pytest.raises(ZooError, match="expected metrics of isc, fid, kid, prc, got ppl"):
        fidelity.run(x, x, DIGITS, SPECS["pixels"], ("ppl",))
    with pytest.raises(ZooError, match="subsets of 1000 are larger than 20 images"):
        fidelity.run(x, x, DIGITS, SPECS["pixels"], ("kid",))
    with pytest.raises(ZooError, match="'pixels' is no classifier"):
        fidelity.run(x, x, DIGITS, SPECS["pixels"], ("isc",))
    with pytest.raises(ZooError, match="at least one image"):
        fidelity.run(x[:0], x, DIGITS, SPECS["pixels"], ("fid",))
