"""NADE: equations 9 and 10 against a plain loop, the derivative of the blocks, and what it costs to sample."""

from __future__ import annotations

import pytest
import torch
from zoo_autoregressive.autoregressive import to_sequence
from zoo_autoregressive.configs import NADEConfig
from zoo_autoregressive.nade import activations as blocks
from zoo_autoregressive.nade.activations import activations
from zoo_autoregressive.nade.model import NADE

from zoo_core import ImageSpec, ZooError

COLOUR = ImageSpec(channels=3, height=2, width=2, levels=5)


def nade(images: ImageSpec, **fields: object) -> NADE:
    """In float64, with random weights."""
    torch.manual_seed(1)
    model = NADE(images, NADEConfig(hidden=7, **fields)).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    return model


@pytest.mark.parametrize("inputs", ["scaled", "onehot"])
@torch.no_grad()
def test_logits_are_equations_9_and_10(inputs: str) -> None:
    model = nade(COLOUR, inputs=inputs)
    s = to_sequence(torch.randint(5, (4, *COLOUR.shape), dtype=torch.uint8))
    x = model.to_inputs(s[:, :-1]).flatten(1)  # (N, (D-1) E)
    found = model.logits(s)
    for d in range(COLOUR.dims):
        seen = d * model.inputs
        h = torch.sigmoid(model.hidden_bias + x[:, :seen] @ model.encoder[:seen])
        expected = model.bias.view(12, 5)[d] + h @ model.decoder[d].t()
        assert torch.allclose(found[:, d], expected)


@pytest.mark.parametrize("cache", [1, 40, 10_000], ids=["a pixel a block", "some", "one block"])
@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (3, 1), (1, 4), (2, 3)])
def test_the_derivative_of_the_blocks_is_autograd_s(
    cache: int, inputs: int, outputs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "CACHE", cache)
    torch.manual_seed(0)
    n, dims, hidden = 3, 6, 4
    x = torch.rand(n, dims - 1, inputs, dtype=torch.float64)
    shapes = [((dims - 1) * inputs, hidden), (hidden,), (dims, outputs, hidden)]
    weights = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(lambda *w: activations(x, *w), weights)

    encoder, bias, decoder = weights
    steps = torch.einsum("nde,deh->ndh", x, encoder.unflatten(0, (dims - 1, inputs)))  # what each pixel adds
    sums = torch.cat([torch.zeros(n, 1, hidden, dtype=torch.float64), steps.cumsum(1)], 1) + bias
    assert torch.allclose(activations(x, *weights), torch.einsum("ndh,dph->ndp", sums.sigmoid(), decoder))


def test_too_many_weights_are_refused() -> None:
    with pytest.raises(ZooError, match="100,000 hidden units for 3,072 pixels"):
        NADE(ImageSpec(channels=3, height=32, width=32), NADEConfig(hidden=100_000))
    with pytest.raises(ZooError, match="at least 1 unit"):
        NADEConfig(hidden=0)
