"""Networks: shapes, errors, a quiet start, gradients everywhere, and one answer however they are asked."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from minidiff.nets.dit import DiT
from minidiff.nets.layers import Attention, LevelEmbedding, PictureAttention, ResBlock
from minidiff.nets.mlp import MLP
from minidiff.nets.unet import UNet


@pytest.fixture(autouse=True)
def same_numbers_every_time():
    torch.manual_seed(0)


def shaken(net, seed=0):
    """The network with no weight at zero, as after some training: at the start many blocks are silent."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(torch.randn(p.shape, generator=generator) * 0.1)
    return net


def small_unet(**changes):
    return UNet(**{"channels": 1, "widths": (16, 24), "blocks": 1, "heads": 2, "d_ctx": 6} | changes)


def question(batch=3, channels=1, height=8, width=12, words=5, d_ctx=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(batch, channels, height, width, generator=generator),
        torch.rand(batch, generator=generator),
        torch.randn(batch, words, d_ctx, generator=generator),
    )


# --- Shapes and errors ----------------------------------------------------------------------------


@given(data=st.data())
@settings(max_examples=15)
def test_a_unet_answers_in_the_shape_of_the_question(data):
    widths = data.draw(st.lists(st.sampled_from([16, 24, 32]), min_size=1, max_size=3), label="widths")
    patch = data.draw(st.sampled_from([1, 2]), label="patch")
    channels, blocks = (
        data.draw(st.integers(1, 3), label="channels"),
        data.draw(st.integers(1, 2), label="blocks"),
    )
    d_ctx = data.draw(st.none() | st.integers(1, 5), label="d_ctx")
    multiple = patch * 2 ** (len(widths) - 1)
    height, width = (multiple * data.draw(st.integers(1, 3), label=side) for side in ("height", "width"))
    net = UNet(channels, widths, blocks, heads=2, d_ctx=d_ctx, patch=patch)
    x, level, ctx = question(data.draw(st.integers(1, 3), label="batch"), channels, height, width, d_ctx=d_ctx or 1)
    assert net(x, level, ctx if d_ctx else None).shape == x.shape


@given(height=st.integers(1, 20), width=st.integers(1, 20))
@settings(max_examples=20)
def test_a_unet_takes_the_sizes_that_it_can_halve_and_names_the_others(height, width):
    net = small_unet()
    x, level, ctx = question(1, 1, height, width)
    if height % 4 or width % 4:
        with pytest.raises(ValueError, match=rf"multiples of 4, got \({height}, {width}\)"):
            net(x, level, ctx)
    else:
        assert net(x, level, ctx).shape == x.shape


def test_a_unet_for_pictures_of_one_side_knows_where_it_is_and_takes_no_others():
    net = shaken(small_unet(side=8))
    for p in net.places:
        nn.init.zeros_(p)  # as at the start
    x, level, ctx = question(width=8)
    assert [tuple(p.shape) for p in net.places] == [(16, 4, 4), (24, 2, 2)]
    assert not any(p.any() for p in small_unet(side=8).places)  # the vectors start at zero
    plain = small_unet()
    plain.load_state_dict({k: v for k, v in net.state_dict().items() if not k.startswith("places")})
    torch.testing.assert_close(net(x, level, ctx), plain(x, level, ctx))
    before = net(x, level, ctx)
    with torch.no_grad():
        net.places[1][:, 0, 0] += 1
    assert not torch.allclose(net(x, level, ctx), before)
    with pytest.raises(ValueError, match=r"side=8, got \(8, 12\)"):
        net(*question())
    with pytest.raises(ValueError, match="multiple of 4, got 10"):
        small_unet(side=10)


def test_a_unet_names_the_channels_that_it_was_built_with():
    x, level, ctx = question(channels=3)
    with pytest.raises(ValueError, match="channels=1, got 3"):
        small_unet()(x, level, ctx)


@given(
    batch=st.integers(1, 4),
    channels=st.integers(1, 3),
    width=st.integers(1, 32),
    d_ctx=st.none() | st.integers(1, 5),
)
@settings(max_examples=15)
def test_an_mlp_answers_in_the_shape_of_the_question(batch, channels, width, d_ctx):
    x, level, ctx = question(batch, channels, 1, 1, d_ctx=d_ctx or 1)
    assert MLP(channels, width, d_ctx)(x, level, ctx if d_ctx else None).shape == x.shape


def test_a_network_with_words_says_when_they_are_missing():
    x, level, _ = question()
    with pytest.raises(ValueError, match="needs ctx"):
        small_unet()(x, level)
    with pytest.raises(ValueError, match="needs ctx"):
        PictureAttention(16, 2, 6)(torch.randn(1, 16, 2, 2))
    with pytest.raises(ValueError, match="d_ctx=6, but ctx is missing"):
        MLP(d_ctx=6)(torch.randn(3, 2, 1, 1), level)


def test_an_mlp_without_words_says_when_they_are_given():
    with pytest.raises(ValueError, match="d_ctx=None, but ctx is given"):
        MLP()(torch.randn(3, 2, 1, 1), torch.rand(3), torch.randn(3, 5, 6))


@pytest.mark.parametrize("net", [UNet(1, widths=(8,), blocks=1, heads=2), DiT(1, 8)], ids=["unet", "dit"])
def test_a_network_without_words_says_when_they_are_given(net):
    with pytest.raises(ValueError, match="d_ctx=None, but ctx is given"):
        net(torch.zeros(2, 1, 8, 8), torch.zeros(2), torch.zeros(2, 3, 4))


def test_attention_needs_a_width_that_its_heads_divide():
    with pytest.raises(ValueError, match="got 10 and 4"):
        Attention(10, 4)


@pytest.mark.parametrize("make", [lambda: small_unet(), lambda: small_unet(side=8, peak=True), lambda: MLP(2, 16, 6)])
def test_a_network_can_be_built_again_from_its_config(make):
    net = make()
    again = type(net)(**net.config)
    again.load_state_dict(net.state_dict())
    assert again.config == net.config


# --- The quiet start ------------------------------------------------------------------------------


def test_a_new_unet_says_zero():
    assert torch.equal(small_unet()(*question()), torch.zeros(3, 1, 8, 12))


def test_a_new_block_is_the_identity():
    x, emb, ctx = torch.randn(2, 16, 4, 4), torch.randn(2, 10), torch.randn(2, 5, 6)
    assert torch.equal(ResBlock(16, 16, 10)(x, emb), x)
    assert torch.equal(PictureAttention(16, 2, 6)(x, ctx), x)


@pytest.mark.parametrize("d_ctx", [6, None])
@pytest.mark.parametrize("patch", [1, 2])
def test_after_three_steps_every_weight_of_a_unet_has_learned(d_ctx, patch):
    """The first step wakes the head, the second the last layers of the blocks, the third all before them."""
    net = small_unet(d_ctx=d_ctx, patch=patch)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    x, level, ctx = question()
    learned = set()
    for _ in range(3):
        optimizer.zero_grad()
        (net(x, level, ctx if d_ctx else None) - x).square().mean().backward()
        optimizer.step()
        learned |= {name for name, p in net.named_parameters() if p.grad is not None and (p.grad != 0).any()}
    assert learned == {name for name, _ in net.named_parameters()}


def test_every_weight_of_an_mlp_learns_at_once():
    net = MLP(2, 16, d_ctx=6)
    x, level, ctx = question(channels=2, height=1, width=1)
    (net(x, level, ctx) - x).square().mean().backward()
    assert all((p.grad != 0).any() for p in net.parameters())


# --- The parts ------------------------------------------------------------------------------------


@given(heads=st.sampled_from([1, 2, 4]), n=st.integers(1, 9), words=st.none() | st.integers(1, 7))
@settings(max_examples=15)
def test_attention_is_that_of_torch(heads, n, words):
    """torch.nn.functional.scaled_dot_product_attention on the same weights; over itself, or over words."""
    attention = shaken(Attention(16, heads, d_ctx=16 if words is None else 6))
    x = torch.randn(2, n, 16)
    ctx = None if words is None else torch.randn(2, words, 6)

    def split(y):  # (b, n, heads d) -> (b, heads, n, d)
        return y.view(2, -1, heads, 16 // heads).transpose(1, 2)

    q = split(attention.q(x))
    k, v = (split(y) for y in attention.kv(x if ctx is None else ctx).chunk(2, dim=-1))
    expected = attention.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(2, n, 16))
    torch.testing.assert_close(attention(x, ctx), expected, rtol=1e-5, atol=1e-5)


def test_attention_is_that_of_torchs_own_module():
    """nn.MultiheadAttention with q, k and v of ours."""
    ours, theirs = shaken(Attention(16, 4)), nn.MultiheadAttention(16, 4, bias=False, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.q.weight, ours.kv.weight]))
        theirs.out_proj.weight.copy_(ours.out.weight)
    x = torch.randn(2, 7, 16)
    torch.testing.assert_close(ours(x), theirs(x, x, x)[0] + ours.out.bias, rtol=1e-5, atol=1e-5)


def test_attention_does_not_care_for_the_order_of_the_words():
    attention, x, ctx = shaken(Attention(16, 4, 6)), torch.randn(2, 7, 16), torch.randn(2, 5, 6)
    torch.testing.assert_close(attention(x, ctx), attention(x, ctx.flip(1)), rtol=1e-5, atol=1e-5)


def test_a_block_is_what_its_docstring_says():
    """Written out with torch's functions; scale and shift as in Dhariwal and Nichol 2021, section 3.1."""
    block = shaken(ResBlock(16, 24, 10))
    x, emb = torch.randn(2, 16, 4, 4), torch.randn(2, 10)
    h = F.silu(F.group_norm(x, 8, block.norm1.weight, block.norm1.bias))
    h = F.conv2d(h, block.conv1.weight, block.conv1.bias, padding=1)
    scale, shift = (emb @ block.scale_shift.weight.T + block.scale_shift.bias).view(2, 2, 24, 1, 1).unbind(1)
    h = F.silu(F.group_norm(h, 8, block.norm2.weight, block.norm2.bias) * (1 + scale) + shift)
    h = F.conv2d(h, block.conv2.weight, block.conv2.bias, padding=1)
    expected = F.conv2d(x, block.skip.weight, block.skip.bias) + h
    torch.testing.assert_close(block(x, emb), expected, rtol=1e-5, atol=1e-5)


def test_the_level_is_seen_as_sines_and_cosines_from_half_a_turn_to_64():
    embedding = LevelEmbedding(8)
    torch.testing.assert_close(embedding.freqs[[0, -1]], torch.tensor([0.5, 64.0]))
    seen = []
    embedding.mlp.register_forward_pre_hook(lambda mlp, args: seen.append(args[0]))
    embedding(torch.tensor([0.0, 1.0]))
    expected = torch.cat([torch.zeros(32), torch.ones(32)])
    torch.testing.assert_close(seen[0][0], expected)
    angles = 2 * math.pi * embedding.freqs
    torch.testing.assert_close(seen[0][1], torch.cat([angles.sin(), angles.cos()]))


def test_close_levels_can_be_told_apart_and_no_two_are_confused():
    """0 and 1 differ although most of their sines are at full turns: the slowest makes half a turn."""
    embedding = LevelEmbedding(32)
    seen = []
    embedding.mlp.register_forward_pre_hook(lambda mlp, args: seen.append(args[0]))
    embedding(torch.linspace(0, 1, 501))
    apart = torch.cdist(seen[0], seen[0]) + 100 * torch.eye(501)
    assert apart.min() > 0.3


# --- One answer, however it is asked ---------------------------------------------------------------


@pytest.mark.parametrize("patch", [1, 2])
def test_encode_and_decode_are_the_two_halves_of_forward(patch):
    net, (x, level, ctx) = shaken(small_unet(patch=patch)), question()
    emb = net.embed(level, ctx)
    h, saved = net.encode(x, emb, ctx)
    count = len(saved)
    assert torch.equal(net.decode(h, saved, emb), net(x, level, ctx))
    assert len(saved) == count  # decode leaves the list whole, so that it can be used again
    assert h.shape == (3, 24, 8 // net.multiple, 12 // net.multiple)


def test_what_is_added_between_the_halves_changes_the_answer():
    """The seam is where a ControlNet adds its features."""
    net, (x, level, ctx) = shaken(small_unet()), question()
    emb = net.embed(level, ctx)
    h, saved = net.encode(x, emb, ctx)
    for i in range(len(saved)):
        changed = [*saved[:i], saved[i] + 1, *saved[i + 1 :]]
        assert not torch.allclose(net.decode(h, changed, emb), net(x, level, ctx), atol=1e-4)


def ask_unet(rows):
    x, level, ctx = question(batch=8)
    return shaken(small_unet())(x[rows], level[rows], ctx[rows])


def ask_mlp(rows):
    x, level, ctx = question(batch=8, channels=2, height=1, width=1)
    return shaken(MLP(2, 32, 6))(x[rows], level[rows], ctx[rows])


@pytest.mark.parametrize("ask", [ask_unet, ask_mlp])
def test_a_sample_gets_the_same_answer_alone_and_in_a_batch(ask):
    torch.manual_seed(1)
    together = ask(slice(None))
    for i in (0, 5):
        torch.manual_seed(1)  # the same network again
        torch.testing.assert_close(ask(slice(i, i + 1))[0], together[i], rtol=1e-5, atol=1e-5)


def test_the_memory_layout_changes_nothing():
    """channels_last, which train() may choose, goes in and comes out, with gradients."""
    net, (x, level, ctx) = shaken(small_unet()), question()
    expected = net(x, level, ctx)
    expected_grad = torch.autograd.grad(expected.square().sum(), net.stem[1].weight)[0]
    net = net.to(memory_format=torch.channels_last)
    answer = net(x.to(memory_format=torch.channels_last), level, ctx)
    grad = torch.autograd.grad(answer.square().sum(), net.stem[1].weight)[0]
    torch.testing.assert_close(answer, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(grad, expected_grad, rtol=1e-3, atol=1e-3)


def test_attention_keeps_the_memory_layout():
    attention, x = PictureAttention(16, 2, None), torch.randn(2, 16, 4, 4)
    assert attention(x).is_contiguous()
    x = x.to(memory_format=torch.channels_last)
    assert attention(x).is_contiguous(memory_format=torch.channels_last)


def test_picture_words_and_level_all_matter():
    net, (x, level, ctx) = shaken(small_unet()), question()
    answer = net(x, level, ctx)
    for other in (net(x + 1, level, ctx), net(x, 1 - level, ctx), net(x, level, ctx.flip(0))):
        assert not torch.allclose(answer, other, atol=1e-4)


def test_networks_are_deterministic():
    net = shaken(small_unet())
    assert torch.equal(net(*question()), net(*question()))
