"""What a terminal of 80 columns shows of a training."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from zoo_bench.training.bar import Bar, fitted

VAE = {"loss": 52.3123, "kl": 9.2041}
GAN = {"loss/discriminator": 0.69311, "loss/generator": 1.02345, "loss/penalty": 1.5e-6, "accuracy": 0.51}


def shown(name: str, losses: dict[str, float], width: int = 80) -> list[str]:
    """The line in the middle of a training that went on from an earlier hour, and what stays of it in the end."""
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=True, color_system=None, legacy_windows=False)
    with Bar(console, name, 1000, 0, 3600.0, silent=False) as bar:
        bar.advance(500, losses, 6401.2)
        bar.advance(1000, losses, 6401.2)
        bar.show("drawing samples, which takes a while and says so at length")
    lines = [line for line in file.getvalue().replace("\x1b[2K", "\r").replace("\n", "\r").split("\r") if "%" in line]
    return [next(line for line in lines if " 50%" in line), lines[-1]]


@pytest.mark.parametrize("name", ["vae.digits", "gated_pixelcnn.digits_transformed"])
@pytest.mark.parametrize("losses", [VAE, GAN, {}], ids=["vae", "gan", "none"])
def test_bar_and_losses_fit_into_80_columns(name: str, losses: dict[str, float]) -> None:
    for line in shown(name, losses):
        assert len(line) <= 80
        assert "━━━" in line
        assert "6,401 images/s" in line
        assert name[:20] in line


def test_a_finished_bar_has_the_total_time_and_the_last_loss() -> None:
    _, last = shown("vae.digits", VAE)
    assert "1:00:00 total loss 52.31 kl 9.204" in last
    assert "drawing" not in last


@pytest.mark.parametrize(
    ("losses", "room", "text"),
    [
        (VAE, 30, "loss 52.31 kl 9.204"),
        (VAE, 12, "los 52.31 +1"),
        (GAN, 80, "discriminator 0.6931 generator 1.023 penalty 1.5e-06 accuracy 0.51"),
        (GAN, 44, "dis 0.6931 gen 1.023 pen 1.5e-06 acc 0.51"),
        (GAN, 24, "dis 0.6931 gen 1.023 +2"),
        (GAN, 20, "discrimina 0.6931 +3"),
        (GAN, 5, ""),
        ({"loss/a": 1.0, "kl/a": 2.0}, 80, "loss/a 1 kl/a 2"),
        ({"first_a": 1.0, "first_b": 2.0}, 15, "first_a 1 +1"),
    ],
)
def test_losses_are_shortened_to_the_room_there_is(losses: dict[str, float], room: int, text: str) -> None:
    assert fitted(losses, room) == text
