"""MuonAdamW moves matrices as torch.optim.Muon does, everything else as AdamW, in either memory layout."""

import copy

import pytest
import torch
from torch import nn

from minidiff.optim import MuonAdamW


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 8, 3), nn.GroupNorm(2, 8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 4, 3))


def walk(module, optimizer_steps=4, lr=0.02):
    optimizer = MuonAdamW(module, lr, weight_decay=0.1)
    for i in range(optimizer_steps):
        x = torch.randn(5, 2, 4, 4, generator=torch.Generator().manual_seed(i))
        module(x).square().sum().backward()
        optimizer.step(lr)
    return optimizer


def test_matrices_move_as_torch_muon_moves_them():
    mine, theirs = nn.Linear(6, 9, bias=False), nn.Linear(6, 9, bias=False)
    theirs.load_state_dict(mine.state_dict())
    ours = MuonAdamW(mine, 0.02, weight_decay=0.1)
    muon = torch.optim.Muon(theirs.parameters(), 0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for i in range(3):
        for module in (mine, theirs):
            x = torch.randn(7, 6, generator=torch.Generator().manual_seed(i))
            module(x).square().sum().backward()
        ours.step(0.02)
        muon.step()
        muon.zero_grad()
    torch.testing.assert_close(mine.weight, theirs.weight, rtol=0, atol=2e-3)  # theirs turns in bfloat16


def test_the_update_of_a_convolution_is_nearly_orthogonal():
    """Jordan et al. 2024: five Newton-Schulz steps bring all singular values near 1; Liu et al. 2025, eq. 4, scales."""
    conv = nn.Conv2d(4, 8, 3, bias=False)
    before = conv.weight.detach().clone()
    conv(torch.randn(5, 4, 6, 6)).square().sum().backward()
    MuonAdamW(conv, 0.1, weight_decay=0.0).step(0.1)
    turned = (conv.weight.detach() - before).flatten(1) / (0.1 * 0.2 * 36**0.5)
    values = torch.linalg.svdvals(turned)
    assert values.min() > 0.5 and values.max() < 1.5


def test_both_memory_layouts_take_the_same_walk():
    first, last = net(), net().to(memory_format=torch.channels_last)
    walk(first), walk(last)
    for a, b in zip(first.parameters(), last.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_embeddings_norms_and_biases_go_to_adamw():
    module = nn.ModuleDict({"table": nn.Embedding(5, 4), "layer": nn.Linear(4, 4), "norm": nn.LayerNorm(4)})
    assert set(MuonAdamW(module, 0.1).matrices) == {"layer.weight"}


def test_a_module_without_matrices_and_one_with_nothing_else_both_work():
    for module in (nn.LayerNorm(4), nn.Linear(4, 4, bias=False)):
        optimizer = MuonAdamW(module, 0.1)
        module(torch.randn(3, 4)).square().sum().backward()
        optimizer.step(0.1)
        assert all(p.grad is None for p in module.parameters())


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_saved_and_loaded_it_goes_on_bitwise(layout):
    module = net().to(memory_format=layout)
    optimizer = walk(module)
    other = copy.deepcopy(module)
    again = MuonAdamW(other, 0.02, weight_decay=0.1)
    again.load({k: v.clone() for k, v in optimizer.state().items()})
    for m, o in ((module, optimizer), (other, again)):
        m(torch.ones(1, 2, 4, 4)).sum().backward()
        o.step(0.02)
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), other.parameters(), strict=True))


def test_a_state_with_a_hole_is_refused():
    module = net()
    state = walk(module).state()
    state.pop("1.weight/exp_avg")
    with pytest.raises(KeyError, match=r"1\.weight"):
        MuonAdamW(module, 0.1).load(state)


def test_matrices_of_one_shape_move_as_each_would_alone():
    torch.manual_seed(0)
    pair = nn.ModuleList([nn.Linear(6, 4, bias=False), nn.Linear(6, 4, bias=False), nn.Linear(4, 6, bias=False)])
    alone = copy.deepcopy(pair)
    grads = [torch.randn_like(layer.weight) * 10**i for i, layer in enumerate(pair)]
    for modules in ([pair], list(alone)):
        for module in modules:
            optimizer = MuonAdamW(module, 0.02)
            layers = list(module) if module is pair else [module]
            for layer in layers:
                layer.weight.grad = grads[[*pair, *alone].index(layer) % 3].clone()
            optimizer.step(0.02)
    for a, b in zip(pair, alone, strict=True):
        torch.testing.assert_close(a.weight, b.weight)
