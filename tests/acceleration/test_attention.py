"""`attn_implementation="trilby"` against "eager" and "sdpa" of transformers."""

from statistics import median
from types import SimpleNamespace

import pytest
import torch

from tests.acceleration.models import T, in_pieces, logits, tokens
from trilby.audit.transformers import make
from trilby.errors import CallError
from trilby.kernels import ops
from trilby.transformers.attention import attention

pytestmark = pytest.mark.filterwarnings("ignore")
FEW = ["llama", "gemma2", "gpt_oss"]  # grouped heads; a cap and windows; sinks and windows
MORE = [
    "mistral", "gemma3_text", "deepseek_v3", "phi3", "granite_swa", "cohere", "gpt2", "opt",
    "qwen3_next", "falcon_h1",
]  # fmt: skip
KINDS = [*FEW, *(pytest.param(kind, marks=pytest.mark.long) for kind in MORE)]
NO_SDPA = {"gemma2", "gpt_oss", "granite_swa"}
APART = {"gpt_oss", "opt", "falcon_h1", "qwen3_next"}
GAP = 6


def both(kind, dtype=torch.float64, other="eager"):
    return make(kind, dtype, other), make(kind, dtype, "trilby")


def gradients(model, ids):
    y = logits(model, ids)
    (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)).sum().backward()
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("kind", KINDS)
def test_logits_and_gradients_are_those_of_eager(kind):
    """Their softmax is in float32 whatever the dtype is."""
    eager, ours = both(kind)
    ids = tokens(B=2)
    right = logits(eager, ids)
    limit = 1e-6 * float(right.abs().max())
    torch.testing.assert_close(logits(ours, ids), right, rtol=0, atol=limit)
    slopes, found = gradients(eager, ids), gradients(ours, ids)
    largest = max(float(slope.abs().max()) for slope in slopes.values())
    assert found.keys() == slopes.keys()
    for name, slope in slopes.items():
        limit = 5e-5 * float(slope.abs().max()) + 1e-6 * largest
        torch.testing.assert_close(found[name], slope, rtol=0, atol=limit, msg=name)


@torch.no_grad()
@pytest.mark.parametrize(
    "kind", ["llama", *(pytest.param(k, marks=pytest.mark.long) for k in MORE if k not in NO_SDPA)]
)
def test_a_pass_is_that_of_sdpa_to_the_bit(kind):
    sdpa, ours = both(kind, other="sdpa")
    assert torch.equal(logits(ours, tokens(B=2)), logits(sdpa, tokens(B=2)))


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_padding_on_the_left_and_generate(kind):
    eager, ours = both(kind, torch.float32)
    ids = tokens(B=2)
    mask = torch.ones_like(ids)
    mask[0, :GAP] = 0
    right, found = (logits(m, ids, attention_mask=mask) for m in (eager, ours))
    limit = 1e-5 * float(right[1].abs().max())
    torch.testing.assert_close(found[0, GAP:], right[0, GAP:], rtol=0, atol=limit)
    torch.testing.assert_close(found[1], right[1], rtol=0, atol=limit)
    how = dict(attention_mask=mask, max_new_tokens=6, do_sample=False, pad_token_id=0)
    assert torch.equal(ours.generate(ids, **how), eager.generate(ids, **how))


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_from_the_cache_is_one_call(kind, monkeypatch):
    ours, ids, seen = make(kind, torch.float64, "trilby"), tokens(), []
    whole = logits(ours, ids)
    one = ops.softmax_attention

    def counted(q, *rest):
        seen.append(q.shape)
        return one(q, *rest)

    monkeypatch.setattr(ops, "softmax_attention", counted)
    limit = 1e-6 * float(whole.abs().max())
    torch.testing.assert_close(in_pieces(ours, ids, (1,) * T), whole, rtol=0, atol=limit)
    assert len(seen) >= T
    assert all(size[1] == 1 for size in seen)
    if kind not in ("qwen3_next", "falcon_h1"):  # whose recurrent layers need accelerate(model)
        pieces = in_pieces(ours, ids, (1, 5, 6, 1, 8))
        torch.testing.assert_close(pieces, whole, rtol=0, atol=limit)


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_packed_sequences_are_kept_apart(kind):
    if kind in APART:
        pytest.skip(
            "its mask or its recurrent layers do not follow position_ids, with eager either"
        )
    ours, ids, first = make(kind, torch.float64, "trilby"), tokens(), 8
    positions = torch.cat([torch.arange(first), torch.arange(T - first)])[None]
    packed = logits(ours, ids, position_ids=positions)
    alone = [logits(ours, part) for part in (ids[:, :first], ids[:, first:])]
    torch.testing.assert_close(packed, torch.cat(alone, 1), rtol=1e-6, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_halves_are_as_near_as_those_of_eager(kind):
    """The median of five draws: a half that chooses another expert is far off, in either."""
    exact = make(kind, torch.float64, "eager")
    halves = [make(kind, torch.float64, way).to(torch.bfloat16) for way in ("eager", "trilby")]
    errors = [[], []]
    for seed in range(5):
        ids = torch.randint(5, 60, (2, T), generator=torch.Generator().manual_seed(seed))
        right = logits(exact, ids)
        for half, found in zip(halves, errors, strict=True):
            far = in_pieces(half, ids, (T - 3, 1, 1, 1)).double() - right
            found.append(float(far.pow(2).mean().sqrt()))
    eager, ours = map(median, errors)
    assert ours <= 1.25 * eager


def call(*sizes, module=None, **how):
    """A call of B 2, H 4 on G 2, and T queries of S keys of 8 numbers."""
    Q, S = sizes
    rng = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, n, t, 8, generator=rng) for n, t in ((4, Q), (2, S), (2, S)))
    module = module or SimpleNamespace(num_key_value_groups=2)
    return attention(module, q, k, v, how.pop("mask", None), **how)[0], (q, k, v)


def eager(q, k, v, seen, cap=None, sinks=None):
    z = q @ k.repeat_interleave(2, 1).mT / 8**0.5
    z = z if cap is None else cap * torch.tanh(z / cap)
    z = z.masked_fill(~seen, -torch.inf)
    z = z if sinks is None else torch.cat([z, sinks.view(1, 4, 1, 1).expand(*z.shape[:3], 1)], -1)
    w = z.softmax(-1).nan_to_num(0)[..., : k.shape[2]]
    return (w @ v.repeat_interleave(2, 1)).transpose(1, 2)


CAUSAL = torch.ones(5, 5, dtype=torch.bool).tril()
SINKS = torch.tensor([0.5, -1.0, 2.0, 0.0])
SPECIAL = pytest.mark.parametrize("how", [{}, dict(softcap=2.0), dict(s_aux=SINKS)],
                                  ids=["plain", "cap", "sinks"])  # fmt: skip


@SPECIAL
@pytest.mark.parametrize("window", [None, 2])
def test_without_a_mask_a_pass_is_causal_by_itself(how, window):
    y, given = call(5, 5, sliding_window=window, **how)
    seen = CAUSAL if window is None else CAUSAL & ~CAUSAL.tril(-window)
    right = eager(*given, seen, how.get("softcap"), how.get("s_aux"))
    torch.testing.assert_close(y, right, rtol=1e-5, atol=1e-5)


@SPECIAL
@pytest.mark.parametrize("Q", [1, 3])
def test_padding_and_windows_of_a_mask(how, Q):
    mask = CAUSAL[None, None, -Q:].repeat(2, 1, 1, 1)
    mask[0, ..., :2] = False  # padding on the left
    mask[1] &= ~CAUSAL.tril(-3)[-Q:]  # a window of three
    y, given = call(Q, 5, mask=mask, **how)
    right = eager(*given, mask, how.get("softcap"), how.get("s_aux"))
    torch.testing.assert_close(y, right, rtol=1e-5, atol=1e-5)


def test_the_window_of_one_query_without_a_mask():
    y, given = call(1, 5, sliding_window=2)
    seen = torch.tensor([False] * 3 + [True] * 2)
    torch.testing.assert_close(y, eager(*given, seen), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        (dict(output_attentions=True), "output_attentions=True needs weights, which are not kept"),
        (dict(softcap=2.0, dropout=0.5), "dropout is 0.5 beside a cap, sinks or a window"),
        (dict(s_aux=SINKS, position_bias=torch.zeros(1, 4, 5, 5)), "bias is a tensor [1, 4, 5, 5]"),
        (dict(softcap=2.0, mask=torch.zeros(2, 1, 5, 5)), "mask is of torch.float32 [2, 1, 5, 5]"),
        (dict(softcap=2.0, mask=CAUSAL.mT[None, None]), "a mask that is not causal"),
        (dict(softcap=2.0, is_causal=False), "is_causal is False beside a cap"),
    ],
)
def test_what_is_not_computed_is_an_error_in_one_line(how, told):
    with pytest.raises(CallError) as caught:
        call(5, 5, **how)
    assert str(caught.value).startswith("attn_implementation='trilby': ")
    assert told in str(caught.value)


def test_a_model_that_asks_for_no_attention_function_is_refused():
    model = make("bloom", torch.float64, "trilby")
    with pytest.raises(CallError, match="the attention of bloom cannot be replaced; take 'eager'"):
        model(input_ids=tokens())
