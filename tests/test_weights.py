"""Weights come back bit for bit, or an error says which file is wrong, what was expected and what to do."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

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


def of_format_1(folder: Path) -> Path:
    """The same weights as zoo 0.1 wrote them until the training went into the header."""
    known = weights.read_config(folder)
    identity = {key: known[key] for key in ("model", "images", "config")}
    content = save(weights.tensors_of(folder), metadata={"zoo": json.dumps(identity, sort_keys=True)})
    (folder / "model.safetensors").write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    stated = {"format": 1, "zoo": "0.1.0", **identity, "sha256": sha256, "training": known["training"]}
    (folder / "config.json").write_text(json.dumps(stated, indent=2) + "\n")
    return folder


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
    """However the facts about the training were ordered."""
    model = zoo_core.load(str(folder))
    facts = {"seconds": 1.5, "recipe": {"lr": 1e-3, "batch": 100}, "images_seen": 7}
    other = {"images_seen": 7, "recipe": {"batch": 100, "lr": 1e-3}, "seconds": 1.5}
    saved = [
        weights.save(model, tmp_path / str(i), "independent_pixels", given) for i, given in enumerate((facts, other))
    ]
    assert (saved[0] / weights.TENSORS).read_bytes() == (saved[1] / weights.TENSORS).read_bytes()
    assert (saved[0] / weights.CONFIG).read_bytes() == (saved[1] / weights.CONFIG).read_bytes()


def test_how_weights_came_about_is_under_their_sha256(folder: Path, tmp_path: Path) -> None:
    assert weights.read_config(folder)["training"] == {"images_seen": 7}
    assert "training" not in json.loads((folder / "config.json").read_text())
    other = weights.save(zoo_core.load(str(folder)), tmp_path / "other", "independent_pixels", {"images_seen": 8})
    assert weights.read_config(folder)["sha256"] != weights.read_config(other)["sha256"]
    assert weights.content_sha256(folder) == weights.content_sha256(other)  # the same tensors of the same model
    path = folder / weights.TENSORS
    forged = path.read_bytes().replace(rb"{\"images_seen\":7}", rb"{\"images_seen\":9}")
    assert forged != path.read_bytes()
    path.write_bytes(forged)
    with pytest.raises(WeightsError, match="tampered"):
        zoo_core.load(str(folder))


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({"training": {"images_seen": 10**9}}, "training"),
        ({"note": "the best of all"}, "note"),
        ({"zoo": "9.9.9"}, "zoo"),
        ({"format": 1, "training": {"images_seen": 10**9}}, "format, training, zoo"),
    ],
    ids=str,
)
def test_config_json_cannot_say_more_or_other_than_the_header(
    folder: Path, changes: dict[str, object], differs: str
) -> None:
    edit(folder, **changes)
    for read in (weights.read_config, weights.load_folder):
        with pytest.raises(WeightsError, match=rf"whose header differs in {differs}; restore .*config\.json"):
            read(folder)


def test_a_wrong_sha256_in_config_json_is_told_where_another_is_pinned(folder: Path) -> None:
    pinned = weights.read_config(folder)["sha256"]
    edit(folder, sha256="0" * 64)
    with pytest.raises(WeightsError, match=rf"config\.json says sha256 0{{64}}, model\.safetensors has {pinned}"):
        zoo_core.load(str(folder), sha256=pinned)


def test_a_pin_of_the_content_holds_for_every_training_that_led_to_it(folder: Path) -> None:
    """Such as a pin from the days of format 1."""
    assert zoo_core.load(str(folder), sha256=weights.content_sha256(folder))
    model = zoo_core.create("independent_pixels", IMAGES)
    other = weights.save(model, folder.parent / "other", "independent_pixels")
    with pytest.raises(WeightsError, match="tampered with or another file"):
        zoo_core.load(str(other), sha256=weights.content_sha256(folder))


def test_weights_of_format_1_are_read_as_before(folder: Path) -> None:
    now, content = zoo_core.load(str(folder)).log_table, weights.content_sha256(folder)
    known = weights.read_config(of_format_1(folder))
    assert (known["format"], known["training"]) == (1, {"images_seen": 7})
    assert torch.equal(zoo_core.load(str(folder)).log_table, now)
    assert content == known["sha256"] == weights.sha256_of(folder / weights.TENSORS)
    edit(folder, format=2)
    with pytest.raises(WeightsError, match="header differs in format, training, zoo"):
        zoo_core.load(str(folder))
    edit(folder, format=1, config={"alpha": 2.0})
    with pytest.raises(WeightsError, match="header differs in config"):
        zoo_core.load(str(folder))


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "{",
        "[]",
        "null",
        '{"model": "independent_pixels"}',
        '{"model": "a", "images": {}, "config": {}, "training": [1]}',
        "[" * 100_000,
        "1" * 5000,
    ],
    ids=lambda header: str(header)[:20],
)
def test_a_header_that_is_not_ours_is_told(folder: Path, header: str | None) -> None:
    content = save(weights.tensors_of(folder), metadata=None if header is None else {"zoo": header})
    (folder / weights.TENSORS).write_bytes(content)
    edit(folder, sha256=hashlib.sha256(content).hexdigest())
    for read in (weights.read_config, weights.load_folder):
        with pytest.raises(WeightsError, match=r"the header of .*model\.safetensors does not describe a model of zoo"):
            read(folder)


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"\xff" * 100, b"\x02" + b"\0" * 7 + b"{]", b"\x40" + b"\0" * 7])
def test_a_file_that_is_no_safetensors_is_told(folder: Path, content: bytes) -> None:
    (folder / weights.TENSORS).write_bytes(content)
    with pytest.raises(
        WeightsError, match=r"model\.safetensors is not a readable safetensors file: .*; fetch it again"
    ):
        weights.read_config(folder)


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
    with pytest.raises(WeightsError, match="does not describe a model of zoo"):
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
        ({"format": None}, "is not a zoo config"),
        ({"sha256": 7}, "is not a zoo config"),
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
    for text in ('{"format": 1, ', "[1]", "null", "[" * 100_000, '{"format": ' + "1" * 5000 + "}", ""):
        path.write_text(text)
        with pytest.raises(WeightsError, match="is not a zoo config"):
            zoo_core.load(str(folder))


def test_a_tensor_of_another_shape_or_name_is_named(folder: Path) -> None:
    known = weights.read_config(folder)
    known.pop("sha256")
    tensors = weights.tensors_of(folder)
    for change, message in (
        (
            {"log_table": torch.zeros(1, 16, 2, dtype=torch.float64)},
            r"not those of this model: .*size mismatch for log_table",
        ),
        ({"extra": torch.zeros(1)}, r"IndependentPixels: Unexpected key\(s\) in state_dict: \"extra\""),
    ):
        weights.write(folder, {**tensors, **change}, known)
        with pytest.raises(WeightsError, match=message):
            zoo_core.load(str(folder))
    weights.write(folder, {"log_weights": tensors["log_weights"]}, known)
    with pytest.raises(WeightsError, match=r"Missing key\(s\) in state_dict: .*log_table"):
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


def upgraded(*folders: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "zoo_core.commands.upgrade_weights", *map(str, folders)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_an_upgrade_keeps_the_tensors_and_says_the_new_sha256(folder: Path) -> None:
    new = weights.read_config(folder)
    before = weights.read_config(of_format_1(folder))
    data = (folder / weights.TENSORS).read_bytes()[-200:]
    done = upgraded(folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{new['sha256']}  {folder}  (before: {before['sha256']})\n"
    assert weights.read_config(folder) == new  # as if it had been saved today
    assert (folder / weights.TENSORS).read_bytes()[-200:] == data
    assert weights.content_sha256(folder) == before["sha256"]
    assert zoo_core.load(str(folder), sha256=new["sha256"])
    assert upgraded(folder).stdout == f"{new['sha256']}  {folder}  (as it was)\n"


def test_an_upgrade_that_cannot_be_leaves_everything_as_it_is(folder: Path) -> None:
    of_format_1(folder)
    (folder / "README.md").write_text("mine")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    done = upgraded(folder, folder.parent / "nowhere")
    assert done.returncode == 1
    assert "it also holds README.md, which would be lost" in done.stderr
    assert "nowhere: no such folder" in done.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    (folder / "README.md").unlink()
    path = folder / weights.TENSORS
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    done = upgraded(folder)
    assert done.returncode == 1 and "tampered" in done.stderr
    assert path.read_bytes().endswith(b"!")
