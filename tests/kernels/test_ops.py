"""Every operator against torch's own checker and against itself; the shares of the threads."""

import pytest
import torch

import trilby
from trilby.kernels import ops
from trilby.kernels.machine.threads import shares
from trilby.kernels.ops.softmax_attention import FORWARD

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def _mean(dtype, first=None, series=False):
    x = trilby.mean.draw(B=2, T=9, C=3, dtype=dtype)[0]
    x = x.transpose(1, 2).contiguous().transpose(1, 2) if series else x
    return x, torch.randn(2, 3, dtype=torch.float64), torch.tensor([3, 0]), first


def _means(dtype):
    first = torch.tensor([[0, 0, 0, 3, 3, 3, 6, 6, 6], [0] * 9])
    return _mean(dtype), _mean(dtype, series=True), _mean(dtype, first)


def _fading(dtype):
    """Heads all their own; groups that share q and k, and v and g."""
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    for a, b in ((4, 4), (2, 4), (4, 1)):
        q, k, v, g = trilby.decay.draw(B=2, T=5, H=4, K=3, V=2, dtype=dtype)
        yield q[:, :, :a], k[:, :, :a], v[:, :, :b], g, torch.randn(2, 4, 3, 2, dtype=wide)


def _fading_back(dtype):
    for given in _fading(dtype):
        y, after = ops.fading_memory(*given)
        yield torch.randn_like(y), torch.randn_like(after), *given


def _delta(dtype):
    """The same with beta."""
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    for a, b in ((4, 4), (2, 4), (4, 1)):
        q, k, v, beta, g = trilby.delta.draw(B=2, T=5, H=4, K=3, V=2, dtype=dtype)
        state = torch.randn(2, 4, 3, 2, dtype=wide)
        yield q[:, :, :a], k[:, :, :a], v[:, :, :b], beta, g, state
    q, k, v, g, beta = trilby.kda.draw(B=2, T=2, H=4, K=3, V=2, dtype=dtype)
    yield q, k, v[:, :, :2], beta, g[:, :, :2], state


def _delta_back(dtype):
    for given in _delta(dtype):
        y, after = ops.delta_rule(*given)
        yield torch.randn_like(y), torch.randn_like(after), *given


def _linear(dtype):
    """One head for all values, not normalised; shared queries, normalised, with documents."""
    begins = torch.tensor([[False, False, True, False], [False] * 4])
    for a, b, documents in ((4, 1, None), (2, 4, begins)):
        q, k, v = trilby.linear.draw(B=2, T=4, H=4, K=3, V=2, dtype=dtype)
        memory, keys = torch.randn(2, 4, 3, 2).double(), torch.rand(2, 4, 3).double()
        yield q[:, :, :a], k, v[:, :, :b], memory, keys, documents, b == 4


def _linear_back(dtype):
    for given in _linear(dtype):
        results = ops.linear_attention(*given)
        yield *(torch.randn_like(r) for r in results), *given


def _convolution(dtype):
    """Alone, and with silu and documents."""
    x, kernel, bias = trilby.conv.draw(B=2, T=5, C=3, dtype=dtype)
    state = torch.randn(2, 3, 3).to(dtype)
    low = torch.tensor([[0, 0, 3, 2, 1, 0], [0] * 6])
    yield x, kernel, bias, state, None, False
    yield x, kernel, bias, state, low, True


def _convolution_back(dtype):
    for given in _convolution(dtype):
        y, after = ops.causal_convolution(*given)
        yield torch.randn_like(y), torch.randn_like(after), *given


def _selective(dtype):
    """One document, and two in a row."""
    given = trilby.selective.draw(B=2, T=5, C=3, N=2, dtype=dtype)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    state = torch.randn(2, 3, 2, dtype=wide)
    yield *given, state, None
    yield *given, state, torch.tensor([[False, False, True, False, False], [False] * 5])


def _selective_back(dtype):
    for given in _selective(dtype):
        y, after = ops.selective_scan(*given)
        yield torch.randn_like(y), torch.randn_like(after), *given


def _exponential(dtype):
    """Gains of 1 - a, of 1, after a past, and two documents in a row."""
    x, a = trilby.ema.draw(B=2, T=5, C=3, dtype=dtype)
    none, wide = torch.zeros(2, 3, dtype=torch.float64), a.double()
    begins = torch.tensor([[False, False, True, False, False], [False] * 5])
    yield x, wide, none, none, None, False
    yield x, wide, torch.randn(2, 3).double(), none + 0.7, begins, False
    yield x, wide, none, none, begins, True


def _exponential_back(dtype):
    for given in _exponential(dtype):
        results = ops.exponential_mean(*given)
        yield *(torch.randn_like(r) for r in results), *given


def _weighted(dtype):
    """Nothing before it, and channels that share x; a past and two documents, and s shared."""
    x, s = trilby.weighted.draw(B=2, T=5, C=4, dtype=dtype)
    none = torch.zeros(2, 4, dtype=torch.float64)
    begins = torch.tensor([[False, False, True, False, False], [False] * 5])
    yield x[:, :, :2], s, none, none, none, None
    past = torch.linspace(-1, 2, 8, dtype=torch.float64).view(2, 4)
    yield x, s[:, :, :1], past, 2 * past, none + 0.7, begins


def _weighted_back(dtype):
    for given in _weighted(dtype):
        results = ops.weighted_mean(*given)
        yield *(torch.randn_like(r) for r in results), *given


def _attention(dtype):
    """Nothing before it; a window; a past, documents, a cap, slopes and sinks; one query."""
    q, k, v = trilby.attention.draw(B=2, T=5, H=4, K=2, V=2, dtype=dtype)
    bias, now = torch.ones(2, 4).to(dtype) / 3, torch.arange(5)
    yield q, k[:, :, :2], v[:, :, :2], None, None, None, None, 0.5, 0.0, 0
    yield q, k, v, None, None, None, None, 0.5, 0.0, 2
    low = torch.tensor([[-1, -1, 2, 2, 2], [0] * 5])
    past = [torch.cat([x[:, :1], x], 1) for x in (k[:, :, :1], v[:, :, :1])]
    place = torch.cat([torch.tensor([-1]), now])[None].expand(2, -1).contiguous()
    yield q, *past, place, low, bias[0], bias[1], 0.5, 2.0, 0
    first = torch.zeros(2, 1, dtype=torch.int64)
    yield q[:, :1], k[:, :, :2], v[:, :, :2], -now[None], first - 2, bias[0], bias[1], 0.5, 2.0, 0


def _attention_back(dtype):
    for given in _attention(dtype):
        results = FORWARD(*given)
        yield torch.randn_like(results[0]), *results, *given


SAMPLES = {  # an operator without a line here fails its tests
    "prefix_mean": _means,
    "prefix_mean_backward": _means,
    "exponential_mean": _exponential,
    "exponential_mean_backward": _exponential_back,
    "weighted_mean": _weighted,
    "weighted_mean_backward": _weighted_back,
    "fading_memory": _fading,
    "fading_memory_backward": _fading_back,
    "linear_attention": _linear,
    "linear_attention_backward": _linear_back,
    "delta_rule": _delta,
    "delta_rule_backward": _delta_back,
    "causal_convolution": _convolution,
    "causal_convolution_backward": _convolution_back,
    "softmax_attention": _attention,
    "softmax_attention_backward": _attention_back,
    "selective_scan": _selective,
    "selective_scan_backward": _selective_back,
}
QUICK = ("test_schema", "test_autograd_registration", "test_faketensor")
EVERY = pytest.mark.parametrize("operator", ops.OPERATORS, ids=lambda o: o.schema.name)
pytestmark = pytest.mark.filterwarnings(  # of torch's checker, about itself
    "ignore:`torch.jit.script` is deprecated", "ignore:The .grad attribute of a Tensor that is not"
)


def samples(operator, dtype, grad=False):
    """The arguments of one call after the other, as leaves."""
    for given in SAMPLES[operator.schema.name](dtype):
        yield tuple(
            x.detach().clone().requires_grad_(grad and x.is_floating_point())
            if isinstance(x, torch.Tensor) else x
            for x in given
        )  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@EVERY
def test_opcheck(operator, dtype):
    """The trace with symbols is made in float64: shapes alone enter it.

    Of a gradient it takes seconds, since it goes through the gradient of the gradient in torch. So
    it is made of the last call here, and below of all.
    """
    traced = dtype == torch.float64
    *others, last = samples(operator, dtype, grad=traced)
    for given in others:
        whole = traced and not operator.schema.name.endswith("_backward")
        torch.library.opcheck(operator.plain, given, **({} if whole else {"test_utils": QUICK}))
    torch.library.opcheck(operator.plain, last, **({} if traced else {"test_utils": QUICK}))


@pytest.mark.long
@EVERY
def test_opcheck_of_every_call(operator):
    for given in samples(operator, torch.float64, grad=True):
        torch.library.opcheck(operator.plain, given)


def test_every_operator_is_in_the_list():
    known = {name for name in torch._C._dispatch_get_all_op_names() if name.startswith("trilby::")}
    assert known == {f"trilby::{o.schema.name}" for o in ops.OPERATORS}


@EVERY
def test_derivatives_to_the_second_order(operator):
    given = list(samples(operator, torch.float64, grad=True))[-1]
    places = [i for i, x in enumerate(given) if isinstance(x, torch.Tensor) and x.requires_grad]

    def function(*leaves):
        whole = list(given)
        for i, leaf in zip(places, leaves, strict=True):
            whole[i] = leaf
        return operator(*whole)[0] if operator.keeps else operator(*whole)  # the rest has none

    leaves = [given[i] for i in places]
    forward = operator.forward_mode
    assert torch.autograd.gradcheck(function, leaves, check_forward_ad=forward, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, leaves, fast_mode=True)


@EVERY
def test_vmap_is_one_call_after_the_other(operator):
    given = next(samples(operator, torch.float64))
    many = [x if x is None or i else torch.stack([x, -x, 2 * x]) for i, x in enumerate(given)]
    dims = tuple(None if i else 0 for i in range(len(given)))
    found = torch.func.vmap(operator, in_dims=dims)(*many)
    for n in range(3):
        wanted = operator(many[0][n], *given[1:])
        for got, right in zip(found, wanted, strict=True):
            torch.testing.assert_close(got[n], right, rtol=1e-13, atol=1e-13)


def test_the_two_are_each_other_s_transpose():
    x, total, count, _ = _mean(torch.float64)
    dy, dtotal = torch.randn_like(x), torch.randn_like(total)
    y, left = ops.prefix_mean(x, total, count)
    dx, back = ops.prefix_mean_backward(dy, dtotal, count)
    there = (y * dy).sum() + (left * dtotal).sum()
    again = (x * dx).sum() + (total * back).sum()
    assert float(there - again) == pytest.approx(0, abs=1e-13)


@pytest.mark.parametrize("length", [0, 1, 5, 1024, 1025, 4096])
@pytest.mark.parametrize("parts", [1, 2, 3, 8])
@pytest.mark.parametrize("grain", [1, 4, 1024])
def test_shares_cover_everything_once(length, parts, grain):
    found = shares(length, parts, grain)
    assert len(found) <= max(parts, 1)
    assert [i for a, b in found for i in range(a, b)] == list(range(length))
    assert all(a % grain == 0 for a, _ in found)


def test_threads_change_nothing():
    x = torch.randn(3, 2000, 2100)
    before = torch.get_num_threads()
    try:
        found = []
        for n in (1, 2, 5):
            torch.set_num_threads(n)
            found.append(trilby.mean.fused(x)[0])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
