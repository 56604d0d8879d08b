"""Layers with batch statistics, dropout and residual blocks, against torch and formulas written out."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from gymnasium.spaces import Box, Discrete
from helpers import small_ac
from torch import Tensor, nn

from spinup.pytorch.networks.actor_critic import DiscreteMLPActorCritic, MLPValueActorCritic
from spinup.pytorch.networks.layers import (
    BatchNorm,
    BatchRenorm,
    Dropout,
    Residual,
    RMSNorm,
    initialize,
    normalize_weights,
)
from spinup.pytorch.networks.mlp import HiddenLayers, network
from spinup.pytorch.networks.modes import activated, switched_layers

SIZE = 4


def batch(seed: int, scale: float = 1.0, shift: float = 0.0, rows: int = 16) -> Tensor:
    """Normal numbers, (rows, SIZE), float64."""
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(rows, SIZE, generator=generator, dtype=torch.float64) + shift


def varied(layer: Any) -> Any:
    """The layer in float64 with other scales and biases than at the start."""
    layer = layer.double()
    with torch.no_grad():
        layer.weight.copy_(torch.linspace(0.5, 2.0, SIZE))
        if hasattr(layer, "bias"):
            layer.bias.copy_(torch.linspace(-1.0, 1.0, SIZE))
    return layer


WIDE, NARROW = 512, 128


@pytest.mark.parametrize(
    ("init", "variance", "largest"),
    [
        # Uniform on +-sqrt(6 / (inputs + outputs)); normal, cut off at two deviations of the untruncated one.
        ("xavier_uniform", 2 / (WIDE + NARROW), (6 / (WIDE + NARROW)) ** 0.5),
        ("lecun_normal", 1 / WIDE, 2 * (1 / WIDE) ** 0.5 / 0.8796),
    ],
)
def test_initial_weights_have_the_variance_of_their_distribution(
    init: str, variance: float, largest: float
) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(WIDE, NARROW)
    initialize(nn.Sequential(layer), init)
    assert layer.bias.tolist() == [0.0] * NARROW
    assert layer.weight.var().item() == pytest.approx(variance, rel=0.03)  # of 65536 weights
    assert 0.99 * largest < layer.weight.abs().max() <= largest * (1 + 1e-4)


def test_orthogonal_initial_weights() -> None:
    torch.manual_seed(0)
    net = network(WIDE, 2, (NARROW,), nn.ReLU, norm="layer", residual=True)
    first, block, last = net[0], net[1], net[-1]
    assert isinstance(block, Residual)
    wide, back = (layer for layer in block.layers if isinstance(layer, nn.Linear))
    initialize(net, "orthogonal")
    for layer in (first, back, last):  # fewer rows than columns
        assert torch.allclose(layer.weight @ layer.weight.T, torch.eye(len(layer.weight)), atol=1e-5)
    assert torch.allclose(wide.weight.T @ wide.weight, torch.eye(NARROW), atol=1e-5)
    initialize(net, "simba")  # in blocks, variance 2 / inputs
    assert torch.allclose(first.weight @ first.weight.T, torch.eye(NARROW), atol=1e-5)
    assert torch.allclose(last.weight @ last.weight.T, torch.eye(2), atol=1e-5)
    for layer in (wide, back):
        assert layer.weight.var().item() == pytest.approx(2 / layer.in_features, rel=0.03)
        assert layer.bias.tolist() == [0.0] * layer.out_features


def test_every_network_of_an_actor_critic_is_initialized() -> None:
    of_discrete = DiscreteMLPActorCritic(
        Box(-1, 1, (3,)), Discrete(4), hidden_sizes=(8, 8), critics=3, init="orthogonal"
    )
    of_values = MLPValueActorCritic(Box(-1, 1, (3,)), Box(-1, 1, (2,)), init="orthogonal")
    for ac in (small_ac(init="orthogonal", critics=3, residual=True), of_discrete, of_values):
        layers = [layer for layer in ac.modules() if isinstance(layer, nn.Linear)]
        assert len(layers) > 8
        for layer in layers:
            assert not layer.bias.any()
            rows, columns = layer.weight.shape
            product = layer.weight @ layer.weight.T if rows < columns else layer.weight.T @ layer.weight
            assert torch.allclose(product, torch.eye(min(rows, columns)), atol=1e-5)


def test_batch_norm_is_torchs() -> None:
    mine = varied(BatchNorm(SIZE, momentum=0.1))
    torchs = varied(nn.BatchNorm1d(SIZE, momentum=0.1))
    for seed in range(3):
        x = batch(seed, 2.0, 1.0).requires_grad_()
        twin = x.detach().clone().requires_grad_()
        with activated([mine]):
            y = mine(x)
        wanted = torchs(twin)
        assert torch.allclose(y, wanted)
        weights = batch(9)
        (y * weights).sum().backward()
        (wanted * weights).sum().backward()
        assert torch.allclose(x.grad, twin.grad)  # type: ignore[arg-type]
    assert torch.allclose(mine.running_mean, torchs.running_mean)
    rows = 16  # torch's running variance is the unbiased one: the momentum's share of it is larger
    assert torch.allclose((mine.running_var - 0.9**3) * rows / (rows - 1), torchs.running_var - 0.9**3)
    torchs.eval()
    torchs.running_var.copy_(mine.running_var)
    assert torch.allclose(mine(batch(5)), torchs(batch(5)))


def test_statistics_are_the_batchs_only_while_active_whatever_train_and_eval_say() -> None:
    layer = BatchNorm(SIZE).double()
    x = batch(0, 3.0, 2.0)
    before = copy.deepcopy(layer.state_dict())
    for mode in (True, False):
        layer.train(mode)
        assert torch.allclose(layer(x), x / (1.0 + layer.eps) ** 0.5)  # running mean 0, variance 1
    assert all(torch.equal(before[name], value) for name, value in layer.state_dict().items())
    with activated([layer]):
        assert torch.allclose(layer(x).mean(0), torch.zeros(SIZE, dtype=torch.float64), atol=1e-12)
    assert not torch.equal(before["running_mean"], layer.running_mean)
    assert not layer.active


def authors_renorm(x: Tensor, mean: Tensor, var: Tensor, eps: float) -> Tensor:
    """Ioffe 2017, algorithm 1: (x - mu_B) / sigma_B * r + d, r and d constants."""
    mu, sigma = x.mean(0), (x.var(0, correction=0) + eps).sqrt()
    running = (var + eps).sqrt()
    r = (sigma.detach() / running).clamp(1 / 3, 3)
    d = ((mu.detach() - mean) / running).clamp(-5, 5)
    return (x - mu) / sigma * r + d


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (2.0, 1.0), (50.0, 40.0), (0.01, 0.0)])
def test_batch_renorm_is_the_papers(scale: float, shift: float) -> None:
    layer = varied(BatchRenorm(SIZE, warm_up=0))
    layer.running_mean.copy_(torch.tensor([0.1, -0.2, 0.0, 1.0]))
    layer.running_var.copy_(torch.tensor([1.0, 2.0, 0.5, 1.5]))
    x = batch(1, scale, shift).requires_grad_()
    twin = x.detach().clone().requires_grad_()
    mean, var = layer.running_mean.clone(), layer.running_var.clone()
    with activated([layer]):
        y = layer(x)
    wanted = authors_renorm(twin, mean, var, layer.eps) * layer.weight + layer.bias
    assert torch.allclose(y, wanted, atol=1e-9)
    weights = batch(2)
    (y * weights).sum().backward()
    (wanted * weights).sum().backward()
    assert torch.allclose(x.grad, twin.grad, atol=1e-9)  # type: ignore[arg-type]
    assert torch.allclose(layer.running_mean, 0.99 * mean + 0.01 * x.detach().mean(0))
    assert torch.allclose(layer.running_var, 0.99 * var + 0.01 * x.detach().var(0, correction=0))


def test_batch_renorm_within_its_limits_gives_what_the_running_statistics_give() -> None:
    layer = BatchRenorm(SIZE, warm_up=0).double()
    x = batch(3, 1.5, 0.5)
    wanted = layer(x)
    with activated([layer]):
        assert torch.allclose(layer(x), wanted)


def test_batch_renorm_begins_as_batch_norm() -> None:
    renorm, norm = BatchRenorm(SIZE, warm_up=2).double(), BatchNorm(SIZE, eps=1e-3).double()
    for seed in range(3):
        x = batch(seed, 2.0, 1.0)
        with activated([renorm, norm]):
            assert torch.allclose(renorm(x), norm(x)) is (seed < 2)
    assert renorm.batches.item() == 3


def test_rms_norm_by_hand() -> None:
    layer = varied(RMSNorm(SIZE, eps=0.0))
    x = torch.tensor([[1.0, -1.0, 7.0, 7.0]], dtype=torch.float64)  # mean square 25
    assert layer(x)[0].tolist() == pytest.approx([0.1, -0.2, 2.1, 2.8])


def test_dropout_thins_out_only_while_active() -> None:
    layer, x = Dropout(0.25), torch.ones(200, 200)
    assert torch.equal(layer.train()(x), x)
    torch.manual_seed(0)
    with activated([layer]):
        y = layer.eval()(x)
    assert y.unique().tolist() == [0.0, pytest.approx(4 / 3)]
    assert (y == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)


KINDS = (nn.Linear, Dropout, nn.LayerNorm, nn.ReLU, BatchNorm, BatchRenorm, Residual, RMSNorm)
L, D, N, R, B, RN, X, M = KINDS
ORDERS: list[tuple[dict[str, Any], list[type]]] = [
    ({}, [L, R, L, R]),
    ({"norm": "layer"}, [L, N, R, L, N, R]),
    ({"norm": "layer", "dropout": 0.01}, [L, D, N, R, L, D, N, R]),  # DroQ
    ({"norm": "batch_renorm"}, [RN, L, R, RN, L, R, RN]),  # CrossQ
    ({"norm": "batch", "dropout": 0.1}, [B, L, D, R, B, L, D, R, B]),
    ({"residual": True}, [L, X, X]),
    ({"residual": True, "norm": "layer"}, [L, X, X, N]),  # SimBa
    ({"residual": True, "norm": "batch"}, [B, L, X, X, M]),  # FlashSAC
]


@pytest.mark.parametrize(("options", "order"), ORDERS)
def test_order_of_layers(options: dict[str, Any], order: list[type]) -> None:
    hidden = HiddenLayers((8, 8), nn.ReLU, **options)
    assert [type(layer) for layer in hidden.layers(3)] == order
    assert network(3, 2, (8, 8), nn.ReLU, **options)(torch.zeros(5, 3)).shape == (5, 2)


def test_simba_block_written_out() -> None:
    net = network(3, 1, (8, 8), nn.ReLU, residual=True, norm="layer").double()
    x = torch.randn(5, 3, dtype=torch.float64)
    h = net[0](x)
    for block in (net[1], net[2]):
        norm, first, _, second = block.layers
        assert first.weight.shape == (32, 8)
        h = h + second(torch.relu(first(norm(h))))
    assert torch.allclose(net(x), net[4](nn.functional.layer_norm(h, (8,)) * net[3].weight + net[3].bias))


def test_flash_block_written_out() -> None:
    net = network(3, 1, (8,), nn.ReLU, residual=True, norm="batch").double()
    x = torch.randn(5, 3, dtype=torch.float64)

    def norm(h: Tensor) -> Tensor:
        return (h - h.mean(0)) / (h.var(0, correction=0) + 1e-5).sqrt()

    h = norm(x) @ net[1].weight.T
    first, _, _, second, *_ = net[2].layers
    h = h + torch.relu(norm(torch.relu(norm(h @ first.weight.T)) @ second.weight.T))
    h = h / (h.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    with activated(switched_layers(net)):
        assert torch.allclose(net(x), net[4](h))


def test_weights_are_scaled_to_norm_one() -> None:
    net = network(3, 2, (8, 8), nn.ReLU, residual=True, norm="batch")
    with torch.no_grad():
        for p in net.parameters():
            p.add_(torch.randn_like(p))
    direction = net[1].weight.clone()
    normalize_weights(net)
    for layer in net.modules():
        if isinstance(layer, nn.Linear):
            assert torch.allclose(layer.weight.norm(dim=1), torch.ones(len(layer.weight)))
        elif isinstance(layer, BatchNorm):
            both = torch.cat([layer.weight, layer.bias]).norm()
            assert both.item() == pytest.approx(len(layer.weight) ** 0.5, rel=1e-5)
        elif isinstance(layer, RMSNorm):
            assert layer.weight.norm().item() == pytest.approx(len(layer.weight) ** 0.5, rel=1e-5)
    assert torch.allclose(net[1].weight, direction / direction.norm(dim=1, keepdim=True))
    before = [p.clone() for p in net.parameters()]
    normalize_weights(net)
    assert all(torch.allclose(a, b) for a, b in zip(before, net.parameters(), strict=True))


def test_the_options_of_policy_and_critics_are_separate() -> None:
    ac = small_ac(actor_norm="batch", critic_norm="layer", critic_hidden_sizes=(16,), critic_dropout=0.1)
    assert [type(layer) for layer in ac.pi.net] == [B, L, R, B, L, R, B]
    assert [type(layer) for layer in ac.q1.q] == [L, D, N, R, L]
    assert ac.q1.q[0].out_features == 16
    assert ac.pi.net[1].out_features == 8
