# SPDX-License-Identifier: BSD-3-Clause
"""dwconv.torch.DepthwiseConv1d in the place of Conv1d(groups=channels)."""

import copy
import io
import pickle

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'dwconv[bridges]'")

from dwconv.torch import DepthwiseConv1d  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

FORMS = [
    dict(kernel_size=3),
    dict(kernel_size=4, padding="same", dilation=3),
    dict(kernel_size=(5,), stride=(2,), padding=(3,), dilation=(2,)),
    dict(kernel_size=3, padding=1, bias=False, dtype=torch.float64),
    dict(kernel_size=5, padding=2, padding_mode="reflect"),
    dict(kernel_size=5, padding=3, padding_mode="replicate", stride=2),
    dict(kernel_size=4, padding="same", padding_mode="circular"),
    dict(kernel_size=1, padding="valid"),
]


def pair(form, channels=3, outputs=6):
    """Conv1d and ours, made with the same seed."""
    layers = []
    for make, more in ((nn.Conv1d, {"groups": channels}), (DepthwiseConv1d, {})):
        torch.manual_seed(5)
        layers.append(make(channels, outputs, **form, **more))
    return layers


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")  # torch's own
@pytest.mark.parametrize("form", FORMS, ids=repr)
def test_it_is_conv1d(form):
    conv, layer = pair(form)
    assert list(layer.state_dict()) == list(conv.state_dict())
    for a, b in zip(layer.parameters(), conv.parameters(), strict=True):
        assert torch.equal(a, b), "initial values"
    for name in ("stride", "padding", "dilation", "groups", "padding_mode", "kernel_size"):
        assert getattr(layer, name) == getattr(conv, name), name
    assert repr(layer).removeprefix("Depthwise") == repr(conv)
    for shape in ((2, 3, 30), (3, 30)):
        x = torch.randn(*shape, dtype=conv.weight.dtype, requires_grad=True)
        y, expected = layer(x), conv(x)
        torch.testing.assert_close(y, expected)
        dy = torch.randn_like(y)
        found = torch.autograd.grad(y, (x, *layer.parameters()), dy)
        for got, want in zip(found, torch.autograd.grad(expected, (x, *conv.parameters()), dy), strict=True):
            torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_state_dicts_go_both_ways():
    conv, layer = nn.Conv1d(4, 8, 5, groups=4), DepthwiseConv1d(4, 8, 5)
    assert layer.load_state_dict(conv.state_dict(), strict=True).missing_keys == []
    x = torch.randn(1, 4, 20)
    torch.testing.assert_close(layer(x), conv(x))
    other = nn.Conv1d(4, 8, 5, groups=4)
    other.load_state_dict(layer.state_dict(), strict=True)
    torch.testing.assert_close(other(x), conv(x))


def test_arguments_in_conv1d_s_order():
    conv = nn.Conv1d(4, 8, 3, 2, 1, 2, 4, False, "zeros", "cpu", torch.float64)
    layer = DepthwiseConv1d(4, 8, 3, 2, 1, 2, 4, False, "zeros", "cpu", torch.float64)
    layer.load_state_dict(conv.state_dict(), strict=True)
    x = torch.randn(2, 4, 30, dtype=torch.float64)
    torch.testing.assert_close(layer(x), conv(x))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("form", FORMS, ids=repr)
def test_from_conv1d_shares_the_parameters(form):
    conv, _ = pair(form)
    layer = DepthwiseConv1d.from_conv1d(conv.eval())
    assert layer.weight is conv.weight and layer.bias is conv.bias and not layer.training
    x = torch.randn(2, 3, 30, dtype=conv.weight.dtype)
    torch.testing.assert_close(layer(x), conv(x))


@pytest.mark.parametrize("padding, sides", [("causal", (4, 0)), ((1, 2), (1, 2)), ((3, 3), (3, 3))])
@pytest.mark.parametrize("mode", ["zeros", "replicate"])
def test_paddings_beyond_conv1d(padding, sides, mode):
    layer = DepthwiseConv1d(3, 3, 3, padding=padding, dilation=2, padding_mode=mode)
    x = torch.randn(2, 3, 20)
    padded = F.pad(x, sides, "constant" if mode == "zeros" else mode)
    torch.testing.assert_close(layer(x), F.conv1d(padded, layer.weight, layer.bias, 1, 0, 2, 3))
    assert "padding=" in repr(layer)


def test_copies():
    layer = DepthwiseConv1d(4, 4, 3, padding="causal")
    x = torch.randn(1, 4, 20)
    stored = io.BytesIO()
    torch.save(layer, stored)
    stored.seek(0)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), torch.load(stored, weights_only=False)):
        assert torch.equal(twin(x), layer(x))
    assert layer.double()(x.double()).dtype == torch.float64


def test_training_takes_the_same_steps():
    x, target = torch.randn(4, 3, 40), torch.randn(4, 6, 40)
    conv, layer = pair(dict(kernel_size=5, padding=2))
    losses = []
    for module in (conv, layer):
        network = nn.Sequential(module, nn.ReLU(), nn.Conv1d(6, 6, 1))
        torch.manual_seed(1)
        network[2].reset_parameters()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
        history = []
        for _ in range(20):
            optimizer.zero_grad()
            loss = F.mse_loss(network(x), target)
            loss.backward()
            optimizer.step()
            history.append(loss.item())
        losses.append(history)
    assert losses[0][-1] < losses[0][0]
    torch.testing.assert_close(*map(torch.tensor, losses), rtol=1e-4, atol=1e-5)


def test_weight_norm():
    conv, layer = map(nn.utils.parametrizations.weight_norm, pair(dict(kernel_size=3)))
    layer.load_state_dict(conv.state_dict(), strict=True)
    x = torch.randn(2, 3, 20)
    torch.testing.assert_close(layer(x), conv(x))
    layer(x).sum().backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())


def test_compiled_module_is_one_graph():
    torch._dynamo.reset()
    layer = DepthwiseConv1d(3, 6, 5, padding=2)
    x = torch.randn(2, 3, 20)
    torch.testing.assert_close(torch.compile(layer, fullgraph=True, backend="aot_eager")(x), layer(x))


@pytest.mark.parametrize(
    "error, message, arguments",
    [
        (ValueError, "`groups` must be in_channels=4", dict(groups=2)),
        (ValueError, "divisible by groups", dict(out_channels=6)),
        (ValueError, "`kernel_size` must be a positive", dict(kernel_size=0)),
        (ValueError, "`padding` must not be 'same' with a stride", dict(padding="same", stride=2)),
        (ValueError, "`padding` must be", dict(padding="full")),
        (ValueError, "padding_mode must be one of", dict(padding_mode="constant")),
        (TypeError, "`stride` must be an integer", dict(stride="2")),
    ],
)
def test_bad_arguments(error, message, arguments):
    with pytest.raises(error, match=message):
        DepthwiseConv1d(**dict(in_channels=4, out_channels=8, kernel_size=3) | arguments)


def test_an_error_leaves_the_layer_as_it_was():
    layer = DepthwiseConv1d(4, 4, 3)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    with pytest.raises(ValueError, match="multiple of the channels"):
        layer(torch.zeros(1, 3, 20))
    with pytest.raises(ValueError, match="`groups` must be in_channels=4"):
        DepthwiseConv1d.from_conv1d(nn.Conv1d(4, 6, 3, groups=2))
    assert all(torch.equal(before[name], value) for name, value in layer.state_dict().items())
