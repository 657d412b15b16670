# SPDX-License-Identifier: BSD-3-Clause
"""dwconv.torch.depthwise_conv1d: the results and derivatives of torch's own conv1d, where torch puts them."""

import shutil

import dwconv
import numpy as np
import pytest
from bridge_cases import BridgeCase, assert_close, random_cases
from child import run_child

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'dwconv[bridges]'")

import dwconv.torch as bridge  # noqa: E402
from dwconv import _torch_ops  # noqa: E402
from torch.nn import functional as F  # noqa: E402

COMPARED = random_cases(60, seed=1)
CHECKED = [
    BridgeCase(batch=1, channels=2, steps=7, kernel_size=3, sides=(1, 1)),
    BridgeCase(batch=2, channels=2, multiplier=2, steps=9, kernel_size=2, stride=2, sides=(2, 1)),
    BridgeCase(batch=1, channels=1, steps=8, kernel_size=3, dilation=2, sides=(4, 0), bias=False),
    BridgeCase(batch=1, channels=3, steps=5, kernel_size=4, stride=3, channels_last=True, sides=(1, 2)),
]


def tensors(case, requires_grad=False):
    *arrays, dy = case.arrays()
    given = [None if a is None else torch.from_numpy(a).requires_grad_(requires_grad) for a in arrays]
    return given, torch.from_numpy(dy)


def ours(case, x, weight, bias=None):
    return bridge.depthwise_conv1d(x, weight, bias, case.stride, case.sides, case.dilation)


def theirs(case, x, weight, bias=None):
    return F.conv1d(F.pad(x, case.sides), weight, bias, case.stride, 0, case.dilation, case.channels)


@pytest.mark.parametrize("case", COMPARED, ids=repr)
def test_results_and_gradients_are_those_of_conv1d(case):
    (x, weight, bias), dy = tensors(case, requires_grad=True)
    given = [t for t in (x, weight, bias) if t is not None]
    exact = [t.detach().double().requires_grad_() for t in given]
    y, expected = ours(case, x, weight, bias), theirs(case, *exact)
    assert_close(case, "y", y.detach(), expected.detach(), case.kernel_size + 1)
    found = torch.autograd.grad(y, given, dy)
    right = torch.autograd.grad(expected, exact, dy.double())
    sums = case.batch * case.out_steps
    terms = (case.kernel_size * case.multiplier, sums, sums)
    for name, got, want, count in zip(("dx", "dweight", "dbias"), found, right, terms, strict=False):
        assert_close(case, name, got, want, count)
        assert got.dtype == x.dtype


@pytest.mark.parametrize("case", CHECKED, ids=repr)
def test_gradcheck_of_first_and_second_order(case):
    (x, weight, bias), _ = tensors(case, requires_grad=True)
    inputs = (x, weight) if bias is None else (x, weight, bias)
    assert torch.autograd.gradcheck(lambda *a: ours(case, *a), inputs)
    assert torch.autograd.gradgradcheck(lambda *a: ours(case, *a), inputs)


def test_gradgradcheck_of_each_subset():
    case = CHECKED[1]
    for wanted in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 1)):
        (x, weight, bias), _ = tensors(case)
        inputs = [t.requires_grad_(bool(w)) for t, w in zip((x, weight, bias), wanted, strict=True)]
        assert torch.autograd.gradcheck(lambda *a: ours(case, *a), inputs), wanted
        assert torch.autograd.gradgradcheck(lambda *a: ours(case, *a), inputs), wanted


def test_third_derivative():
    case = BridgeCase(batch=1, channels=1, steps=6, kernel_size=2)
    (x, weight, bias), _ = tensors(case, requires_grad=True)

    def third(function):
        value = torch.sin(function(case, x, weight, bias)).sum()
        for tensor in (x, weight):
            value = torch.autograd.grad(value, tensor, create_graph=True)[0].square().sum()
        return torch.autograd.grad(value, (x, weight, bias))

    for got, expected in zip(third(ours), third(theirs), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)


def test_only_the_gradients_that_are_needed_are_computed(monkeypatch):
    asked = []
    backward = _torch_ops.depthwise_conv1d_backward
    monkeypatch.setattr(
        _torch_ops,
        "depthwise_conv1d_backward",
        lambda *a, needs, **k: asked.append(needs) or backward(*a, needs=needs, **k),
    )
    for wanted in ((True, False, False), (False, True, False), (False, True, True), (True, True, True)):
        (x, weight, bias), dy = tensors(BridgeCase())
        given = [t.requires_grad_(w) for t, w in zip((x, weight, bias), wanted, strict=True)]
        ours(BridgeCase(), *given).backward(dy)
        assert asked.pop() == wanted and not asked
        assert tuple(t.grad is not None for t in given) == wanted


def test_without_gradients_nothing_is_recorded():
    (x, weight, bias), _ = tensors(BridgeCase(), requires_grad=True)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            y = ours(BridgeCase(), x, weight, bias)
        assert y.grad_fn is None and not y.requires_grad


@pytest.mark.parametrize("channels_last", [False, True])
def test_memory_is_read_in_place_and_the_output_lies_as_the_input(channels_last, monkeypatch):
    seen = []
    convolve = _torch_ops.depthwise_conv1d

    def spy(x, kernel, bias, *, out, **options):
        seen.append((x.__array_interface__["data"][0], out.__array_interface__["data"][0], x.flags.c_contiguous))
        return convolve(x, kernel, bias, out=out, **options)

    monkeypatch.setattr(_torch_ops, "depthwise_conv1d", spy)
    x, weight = torch.randn(2, 50, 8), torch.randn(16, 1, 3)
    x = x.transpose(1, 2) if channels_last else x.transpose(1, 2).contiguous()
    y = bridge.depthwise_conv1d(x, weight, padding="same")
    assert seen == [(x.data_ptr(), y.data_ptr(), True)]
    assert (y.transpose(1, 2) if channels_last else y).is_contiguous()


def test_bits_do_not_depend_on_strides_and_are_those_of_dwconv():
    x, weight = torch.randn(2, 8, 60), torch.randn(16, 1, 5)
    kernel = weight.reshape(8, 2, 5).permute(2, 0, 1).numpy()
    expected = dwconv.depthwise_conv1d(x.numpy(), kernel, padding=(3, 0), data_format="channels_first", method="direct")
    spread = torch.zeros(2, 8, 120)
    spread[:, :, ::2] = x
    wide = torch.zeros(4, 9, 70)
    wide[1:3, :8, 5:65] = x
    last = x.transpose(1, 2).contiguous().transpose(1, 2)
    for name, given in dict(contiguous=x, spread=spread[:, :, ::2], part=wide[1:3, :8, 5:65], last=last).items():
        y = bridge.depthwise_conv1d(given, weight, padding=(3, 0))
        assert np.array_equal(y.numpy(), expected), name


def test_negative_view():
    x = torch.view_as_complex(torch.randn(1, 2, 9, 2)).conj().imag
    assert x.is_neg()
    weight = torch.randn(2, 1, 3)
    torch.testing.assert_close(bridge.depthwise_conv1d(x, weight), F.conv1d(x.resolve_neg(), weight, groups=2))


@pytest.mark.parametrize("padding", [0, 2, (1,), "valid", "same"])
@pytest.mark.parametrize("kernel_size", [1, 4, 5])
def test_paddings_of_torch(padding, kernel_size):
    x, weight, bias = torch.randn(3, 20).double(), torch.randn(6, 1, kernel_size).double(), torch.randn(6).double()
    for given in (x, x[None]):
        got = bridge.depthwise_conv1d(given, weight, bias, (1,), padding, (2,))
        torch.testing.assert_close(got, F.conv1d(given, weight, bias, 1, padding, 2, groups=3))


def test_paddings_beyond_torch():
    x, weight = torch.randn(1, 3, 20), torch.randn(3, 1, 4)
    causal = bridge.depthwise_conv1d(x, weight, stride=2, padding="causal", dilation=2)
    torch.testing.assert_close(causal, F.conv1d(F.pad(x, (6, 0)), weight, None, 2, 0, 2, 3))
    cropped = bridge.depthwise_conv1d(x, weight, padding=(-2, 1))
    torch.testing.assert_close(cropped, F.conv1d(F.pad(x, (-2, 1)), weight, None, 1, 0, 1, 3))


def test_empty_batch():
    x, weight = torch.zeros(0, 3, 20, requires_grad=True), torch.randn(3, 1, 4, requires_grad=True)
    y = bridge.depthwise_conv1d(x, weight)
    assert y.shape == (0, 3, 17)
    y.sum().backward()
    assert x.grad.shape == x.shape and torch.equal(weight.grad, torch.zeros_like(weight))


def test_autocast_computes_in_float32():
    x, weight = torch.randn(1, 4, 20), torch.randn(4, 1, 3, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        y = bridge.depthwise_conv1d(x.bfloat16(), weight, padding="same")
        z = torch.nn.functional.linear(y, torch.eye(20))
    assert y.dtype == torch.float32 and z.dtype == torch.bfloat16
    torch.testing.assert_close(y, F.conv1d(x.bfloat16().float(), weight, None, 1, "same", 1, 4))
    y.sum().backward()
    assert weight.grad.dtype == torch.float32


# ---- torch's transformations


@pytest.mark.parametrize("case", CHECKED, ids=repr)
def test_opcheck(case):
    (x, weight, bias), dy = tensors(case, requires_grad=True)
    options = (case.stride, *case.sides, case.dilation)
    torch.library.opcheck(_torch_ops.forward, (x, weight, bias, *options))
    torch.library.opcheck(_torch_ops.backward, (x, weight, dy, *options, (True, True, True)))
    torch.library.opcheck(_torch_ops.backward, (x, weight, dy, *options, (False, True, False)))


@pytest.fixture
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
def test_compiled_whole(dynamic, channels_last, fresh_compiler):
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")

    @torch.compile(fullgraph=True, dynamic=dynamic, backend=counter)
    def loss(x, weight, bias):
        return torch.sin(bridge.depthwise_conv1d(2 * x, weight, bias, padding="same")).sum()

    for steps in (20, 33) if dynamic else (20,):
        case = BridgeCase(steps=steps, multiplier=2, channels_last=channels_last)
        (x, weight, bias), _ = tensors(case, requires_grad=True)
        found = torch.autograd.grad(loss(x, weight, bias), (x, weight, bias))
        expected = torch.sin(F.conv1d(2 * x, weight, bias, 1, "same", 1, 4)).sum()
        for got, want in zip(found, torch.autograd.grad(expected, (x, weight, bias)), strict=True):
            torch.testing.assert_close(got, want)
    called = [node.target for graph in counter.graphs for node in graph.graph.nodes if node.op == "call_function"]
    assert any("dwconv" in str(target) for target in called), called
    assert counter.frame_count == 1


@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")
def test_compiled_by_inductor(fresh_compiler):
    @torch.compile(fullgraph=True)
    def loss(x, weight):
        return torch.relu(bridge.depthwise_conv1d((x + 1).transpose(1, 2), weight, padding="causal")).sum()

    x, weight = torch.randn(2, 30, 4, requires_grad=True), torch.randn(4, 1, 3, requires_grad=True)
    found = torch.autograd.grad(loss(x, weight), (x, weight))
    expected = torch.relu(F.conv1d(F.pad((x + 1).transpose(1, 2), (2, 0)), weight, groups=4)).sum()
    for got, want in zip(found, torch.autograd.grad(expected, (x, weight)), strict=True):
        torch.testing.assert_close(got, want)


@pytest.mark.parametrize("in_dims", [(0, None, None), (None, 0, None), (1, 0, 0), (2, None, 1)])
def test_vmap_of_result_and_gradients(in_dims):
    case = BridgeCase(channels=3, multiplier=2, sides=(2, 1), stride=2)
    shapes = [(2, 3, 20), (6, 1, 3), (6,)]
    torch.manual_seed(3)
    given = [
        torch.randn(*(shape if d is None else (*shape[:d], 5, *shape[d:]))).double()
        for shape, d in zip(shapes, in_dims, strict=True)
    ]

    def loss(function):
        return lambda *a: torch.sin(function(case, *a)).sum()

    pairs = [(ours, theirs)] + [(torch.func.grad(loss(ours), (0, 1, 2)), torch.func.grad(loss(theirs), (0, 1, 2)))]
    got = torch.func.vmap(lambda *a: ours(case, *a), in_dims)(*given)
    torch.testing.assert_close(got, torch.func.vmap(lambda *a: theirs(case, *a), in_dims)(*given))
    got, expected = (torch.func.vmap(function, in_dims)(*given) for function in pairs[1])
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b)


# ---- processes


@pytest.mark.parametrize("workers", [1, 2])
def test_data_loader_workers(workers):
    """Forked after the parent used threads; in a process of its own, because JAX may not be forked."""
    run_child(
        f"""
        import torch, dwconv.torch
        from dwconv import _core

        class Filtered(torch.utils.data.Dataset):
            x, weight = torch.randn(8, 64, 3000), torch.randn(64, 1, 9)

            def __len__(self):
                return len(self.x)

            def __getitem__(self, index):
                y = dwconv.torch.depthwise_conv1d(self.x[index], self.weight, padding="same")
                return y, _core.forked()

        data = Filtered()
        with dwconv.num_threads(2):
            expected = dwconv.torch.depthwise_conv1d(data.x, data.weight, padding="same")
        loader = torch.utils.data.DataLoader(
            data, batch_size=2, num_workers={workers}, multiprocessing_context="fork", timeout=60
        )
        items = list(loader)
        if not torch.equal(torch.cat([y for y, _ in items]), expected):
            raise SystemExit("other results than in the parent")
        if not all(forked.all() for _, forked in items):
            raise SystemExit("not computed in a forked worker")
        """,
        prelude="",
        timeout=120,
    )


# ---- bad input

X, W, B = torch.zeros(2, 4, 20), torch.zeros(8, 1, 3), torch.zeros(8)
BAD = [
    (TypeError, "`x` must be a torch.Tensor", (X.numpy(), W), {}),
    (TypeError, "`weight` must be a torch.Tensor", (X, None), {}),
    (TypeError, "`x` must have dtype torch.float32 or torch.float64.*bfloat16", (X.bfloat16(), W.bfloat16()), {}),
    (TypeError, "`x` must have dtype .*int64", (X.long(), W), {}),
    (TypeError, "`weight` must have the dtype of x", (X, W.double()), {}),
    (TypeError, "`bias` must have the dtype of x", (X, W, B.double()), {}),
    (ValueError, "`x` must be dense", (X.to_sparse(), W), {}),
    (ValueError, "`x` must have shape .*20,", (X[0, 0], W), {}),
    (ValueError, "`weight` must have shape", (X, W[:, 0]), {}),
    (ValueError, "`weight` must have shape", (X, W.expand(8, 4, 3)), {}),
    (ValueError, "`weight` must have a multiple of the channels", (X, W[:7]), {}),
    (ValueError, "`bias` must have shape", (X, W, B[:4]), {}),
    (ValueError, "`x` must not be shorter", (X[..., :2], W), {}),
    (ValueError, "`stride` must be a positive", (X, W), {"stride": 0}),
    (TypeError, "`stride` must be an integer", (X, W), {"stride": 1.5}),
    (TypeError, "`dilation` must be an integer", (X, W), {"dilation": (1, 2)}),
    (ValueError, "`padding` must not be 'same' with a stride", (X, W), {"stride": 2, "padding": "same"}),
    (ValueError, "`padding` must be", (X, W), {"padding": "full"}),
    (ValueError, "`padding` must be", (X, W), {"padding": -1}),
    (TypeError, "`padding` must be an integer", (X, W), {"padding": True}),
    (TypeError, "`padding` must be an integer", (X, W), {"padding": (1, 2, 3)}),
]


@pytest.mark.parametrize("error, message, arguments, options", BAD, ids=lambda v: v if isinstance(v, str) else "")
def test_bad_input(error, message, arguments, options):
    with pytest.raises(error, match=message):
        bridge.depthwise_conv1d(*arguments, **options)


class ElsewhereTensor(torch.Tensor):
    """A tensor that says it is on another device, for machines that have none."""

    device = torch.device("cuda:0")


def test_other_devices_are_refused():
    with pytest.raises(ValueError, match="`x` must be on the CPU.*cuda:0"):
        bridge.depthwise_conv1d(torch.zeros(2, 4, 20).as_subclass(ElsewhereTensor), W)
    meta = bridge.depthwise_conv1d(torch.zeros(2, 4, 20, device="meta"), torch.zeros(8, 1, 3, device="meta"))
    assert meta.shape == (2, 8, 18)
