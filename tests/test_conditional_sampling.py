"""`zoo sample --label`, `--text`: the condition asked for is the one that is drawn; a wrong one is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import right_models
import torch
from click.testing import CliRunner
from right_models import Captioned
from test_plugins import Site

import zoo_core
from zoo_core import ImageSpec, weights
from zoo_core.cli import main
from zoo_core.config import Config

PLUGIN = """
from zoo_core import hookimpl
from zoo_core.specs import ModelSpec, Paper
from zoo_core.config import Config

@hookimpl
def zoo_models():
    paper = Paper(title="t", authors="a", year=2026, url="https://example.org")
    return [ModelSpec(name="captioned", family="toy", summary="a toy", target="right_models:Captioned",
                      config=Config(), tiny=Config(), likelihood="exact", paper=paper)]
"""


def zoo(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_labels_from_the_command_line_are_drawn_in_turn(tmp_path: Path) -> None:
    out = tmp_path / "x.npz"
    code, text = zoo("sample", "ddpm.digits_cond", "-n", "4", "--label", "3", "--label", "1", "--out", str(out))
    assert code == 0, text
    arrays = np.load(out)
    assert arrays["labels"].tolist() == [3, 1, 3, 1]
    model = zoo_core.load("ddpm.digits_cond")
    alone = zoo_core.sampling.draw(model, 4, seed=0, labels=torch.tensor([3, 1, 3, 1]))
    assert np.array_equal(arrays["images"], alone.permute(0, 2, 3, 1).numpy())
    code, text = zoo("sample", "ddpm.digits_cond", "-n", "4", "--out", str(out))
    assert code == 0, text
    assert "labels" not in np.load(out), "none were asked for: drawn as often as they were seen"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ddpm.digits_cond", "--label", "12"], "expected classes 0..9"),
        (["ddpm.digits_cond", "--label", "-1"], "expected classes 0..9"),
        (["ddpm.digits_cond", "--label", "99999999999999999999"], "99999999999999999999 is not in the range"),
        (["ddpm.digits_cond", "-n", "2", *("--label", "1") * 3], "3 labels for 2 images; raise -n"),
        (["ddpm.digits_cond", "-n", "1", *("--text", "a") * 2], "2 texts for 1 images; raise -n"),
        (["ddpm.digits_cond", "--text", "three"], "text"),
        (["made.digits", "--label", "3"], "unconditional"),
        (["made.digits", "--text", "three"], "unconditional"),
    ],
)
def test_a_condition_that_cannot_be_is_named(arguments: list[str], message: str, tmp_path: Path) -> None:
    code, text = zoo("sample", *arguments, "--out", str(tmp_path / "x.png"))
    assert code in (1, 2)
    assert message in text
    assert "Traceback" not in text
    assert not list(tmp_path.iterdir())


def test_text_from_the_command_line(tmp_path: Path) -> None:
    """Ink where the text says a, none where it says b."""
    site = Site(tmp_path / "site")
    site.folder.mkdir()
    site.install("zoo-captioned", PLUGIN)
    model = Captioned(ImageSpec(channels=1, height=3, width=3, levels=2), Config())
    with torch.no_grad():
        model.characters[ord("a"), :, 1] = 50.0
        model.characters[ord("b"), :, 0] = 50.0
    weights.save(model, tmp_path / "weights", "captioned")
    here = str(Path(right_models.__file__).parent)
    done = site.run(
        *("sample", str(tmp_path / "weights"), "-n", "4", "--text", "a", "--text", "b"),
        *("--out", str(tmp_path / "x.npz")),
        PYTHONPATH=f"{site.folder}:{here}",
    )
    assert done.returncode == 0, done.stderr
    arrays = np.load(tmp_path / "x.npz")
    assert arrays["images"].reshape(4, 9).tolist() == [[1] * 9, [0] * 9] * 2
    assert arrays["text"].tolist() == ["a", "b", "a", "b"]
