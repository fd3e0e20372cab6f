"""The laws once more, bluntly and in plain torch: what the labels of the gallery are held against.

The verifier is not used here. Every probe takes an exhibit and answers "" where it holds, else
with what it saw, in the words of the labels where it can tell.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tests.gallery.arguments import Given, given
from tests.gallery.plain_streams import continued, edited, joined
from tests.gallery.turned import turned
from trilby.gallery import Exhibit

EXACT = torch.float64
CUTS = (1, 2, 6, 10, 11, 15)
NEAR = 1e-9  # float64: rounding is 1e-15, and the mildest fault of the gallery about 1e-4


def run(module: nn.Module, what: Given, seed: int = 0, **more: Any) -> Tensor:
    """The sequence that comes out, random numbers pinned."""
    torch.manual_seed(seed)
    return picked(module(*what.args, **what.named, **more)).clone()


def picked(result: Any) -> Tensor:
    """The logits, the tensor, or the first of several."""
    if isinstance(result, Tensor):
        return result
    return result.logits if hasattr(result, "logits") else result[0]


def gap(a: Tensor, b: Tensor) -> float:
    """The largest difference; NaN beside NaN is none, beside a number it is infinite."""
    both = a.isnan() & b.isnan()
    far = (a.double() - b.double()).abs().masked_fill(both | (a == b), 0.0)
    return float(far.nan_to_num(torch.inf).max()) if far.numel() else 0.0


def exact(exhibit: Exhibit) -> nn.Module:
    """Fresh, in float64 and in eval mode."""
    return exhibit.make().to(EXACT).eval()


def shaken(module: nn.Module) -> nn.Module:
    """The same with other parameters, none of them zero."""
    module = copy.deepcopy(module)
    draw = torch.Generator().manual_seed(3)
    for p in module.parameters():
        p.data += 0.3 * torch.randn(p.shape, generator=draw).to(p.dtype)
    return module


def masks(exhibit: Exhibit, what: Given) -> list[dict[str, Any]]:
    """No padding mask, and one of ones where it takes one."""
    name = exhibit.how.get("padding")
    if not isinstance(name, str) or name in what.keywords:
        return [{}]
    return [{}, {name: torch.ones(what.tensors()[0].shape[:2])}]


def repeats(exhibit: Exhibit) -> str:
    module, what = exhibit.make().eval(), given(exhibit)
    copies = [t.clone() for t in what.tensors()]
    call = lambda w: picked(module(*w.args, **w.named))
    with torch.no_grad():
        state = torch.get_rng_state()
        kept = call(what)
        drew = not torch.equal(state, torch.get_rng_state())
        first = kept.clone()
        if any(not torch.equal(a, b) for a, b in zip(copies, what.tensors(), strict=True)):
            return "writes to its arguments"
        if gap(call(what), first):
            return "random" if drew else "remembers"
        call(what.redrawn(slice(None), slice(None), 1))
        if gap(call(what), first):
            return "remembers"
        call(what.redrawn(slice(None), slice(None), 1))
        return "overwrites its result" if gap(kept, first) else ""


def causal(exhibit: Exhibit) -> str:
    what = given(exhibit).to(EXACT)
    plain, ahead = exact(exhibit), exhibit.how.get("lookahead", 0)
    value = hidden = gradient = length = False
    for module, again in ((plain, False), (shaken(plain), True)):
        for more in masks(exhibit, what):
            for training in (False, True):
                module.train(training)
                seen = _by_value(module, what, more, ahead)
                value, hidden = value or (seen and not again), hidden or (seen and again)
                gradient = gradient or _by_gradient(module, what, more, ahead)
            module.eval()
            length = length or _by_prefix(module, what, more, ahead)
    if value:
        return "leak" if gradient else "leak without gradient"
    return "hidden leak" if hidden else "length" if length else _only(gradient)


def _only(gradient: bool) -> str:
    return "leak in the gradient" if gradient else ""


def _by_value(module: nn.Module, what: Given, more: dict[str, Any], ahead: int) -> bool:
    with torch.no_grad():
        y = run(module, what, **more)
        for t in CUTS:
            for size in (1.0, 100.0):
                after = run(module, what.redrawn(slice(None), slice(t, None), t, size), **more)
                past = slice(0, max(t - ahead, 0))
                if gap(after[:, past], y[:, past]) > NEAR * float(y.abs().max()):
                    return True
    return False


def _by_gradient(module: nn.Module, what: Given, more: dict[str, Any], ahead: int) -> bool:
    leaves = what.each(lambda t: t.clone().requires_grad_(t.is_floating_point()))
    y = run(module, leaves, **more)
    floats = [t for t in leaves.tensors() if t.requires_grad]
    for t in CUTS if floats else ():
        loss = (y[:, t - 1] * torch.arange(1, y.shape[2] + 1)).sum()
        for g in torch.autograd.grad(loss, floats, retain_graph=True, allow_unused=True):
            later = None if g is None else g[:, t + ahead :].abs()
            if later is not None and later.numel() and later.max() > NEAR * g.abs().max():
                return True
    return False


def _by_prefix(module: nn.Module, what: Given, more: dict[str, Any], ahead: int) -> bool:
    with torch.no_grad():
        y = run(module, what, **more)
        head = lambda t: run(module, what.cut(0, t), **{k: m[:, :t] for k, m in more.items()})
        known = lambda y, t: y[:, : max(t - ahead, 0)]
        return any(gap(known(head(t), t), known(y, t)) > NEAR for t in CUTS)


PIECES = ((1,) * 16, (2,) * 8, (3,) * 5 + (1,), (7, 7, 2), (1, 15), (15, 1), (5, 11))


def resumes(exhibit: Exhibit) -> str:
    if "carry" not in exhibit.how:
        return ""
    module, what = exact(exhibit), given(exhibit).to(EXACT)
    with torch.no_grad():
        whole, (how, keywords) = run(module, what), exhibit.how["carry"]
        for lengths in (*PIECES, (4,) * 4):
            if how == "by_methods" and any(n % keywords.get("exactly", 1) for n in lengths):
                continue
            for _ in range(2):  # a state inside the module is emptied in between
                if gap(torch.cat(list(joined(exhibit, module, what, lengths)), 1), whole) > NEAR:
                    return "pieces differ"
        for method, a, b in edited(exhibit, module, what.tensors()[0]) if how == "by_cache" else ():
            if gap(a, b) > NEAR:
                return f"{method} differs"
    return ""


def isolated(exhibit: Exhibit) -> str:
    module, what = exact(exhibit), given(exhibit).to(EXACT)
    B = what.tensors()[0].shape[0]
    with torch.no_grad():
        y = run(module, what)
        for b in range(B):
            others = slice(b + 1, None) if b == 0 else slice(0, b)
            for seed in range(5):
                after = run(module, what.redrawn(others, slice(None), seed))
                if gap(after[b], y[b]) > NEAR:
                    return "neighbour"
        alone = [run(module, what.rows(b, b + 1))[0] for b in range(B)]
        return "batch" if any(gap(a, y[b]) > NEAR for b, a in enumerate(alone)) else ""


def padding(exhibit: Exhibit) -> str:
    name = exhibit.how.get("padding")
    if name is None:
        return ""
    module, x = exact(exhibit), given(exhibit).to(EXACT).tensors()[0]
    if isinstance(name, int):
        return _by_token(module, x, name)
    with torch.no_grad():
        whole = run(module, Given((x,), {}))
        if gap(run(module, Given((x,), {name: torch.ones(x.shape[:2])})), whole) > NEAR:
            return "padding"
        for left in (True, False):
            for pads in (1, 3, 8):
                junk = 3 * torch.randn(1, pads, 8, dtype=EXACT)
                row = torch.cat([junk, x[:1]] if left else [x[:1], junk], 1)
                other = torch.cat([x[1:], junk], 1)
                mask = torch.ones(2, 16 + pads)
                mask[0, slice(0, pads) if left else slice(16, None)] = 0
                real = slice(pads, None) if left else slice(0, 16)
                both = torch.cat([row, other])
                y = run(module, Given((both,), {name: mask}))
                if not y.isfinite().all() or _spoiled(module, both, {name: mask}, real):
                    return "not finite"
                if gap(y[0, real], whole[0]) > NEAR:
                    return "padding"
                if "carry" in exhibit.how and gap(*continued(exhibit, module, both, mask)) > NEAR:
                    return "padding in a stream"
    return ""


def _by_token(module: nn.Module, ids: Tensor, pad: int) -> str:
    """A token that is a pad, at either side of one row."""
    with torch.no_grad():
        whole = run(module, Given((ids,), {}))[0]
        for pads in (1, 3, 8):
            more = torch.full((1, pads), pad)
            left, right = torch.cat([more, ids[:1]], 1), torch.cat([ids[:1], more], 1)
            for row, real in ((left, slice(pads, None)), (right, slice(0, 16))):
                beside = torch.cat([row, torch.cat([ids[1:], ids[1:, :pads]], 1)])
                if gap(run(module, Given((beside,), {}))[0, real], whole) > NEAR:
                    return "padding"
    return ""


def _spoiled(module: nn.Module, x: Tensor, more: dict[str, Any], real: slice) -> bool:
    """Whether the gradient of the real positions of row 0 is not finite."""
    inputs = [x.clone().requires_grad_(), *module.parameters()]
    with torch.enable_grad():
        y = run(module, Given((inputs[0],), more))
        grads = torch.autograd.grad(y[0, real].sum(), inputs, allow_unused=True)
    return any(g is not None and not bool(g.isfinite().all()) for g in grads)


LENGTHS = ((7, 9), (1, 5, 10), (1, 1, 1, 13), (6, 1, 1, 8))


def documents(exhibit: Exhibit) -> str:
    name = exhibit.how.get("documents")
    if name is None:
        return ""
    module, x = exact(exhibit), given(exhibit).to(EXACT).tensors()[0][:1]
    with torch.no_grad():
        for lengths in LENGTHS:
            alone = [run(module, Given((part,), {})) for part in x.split(lengths, 1)]
            packed = run(module, Given((x,), {name: _told(name, lengths)}))
            if gap(packed, torch.cat(alone, 1)) > NEAR:
                return "document"
    return ""


def _told(name: str, lengths: tuple[int, ...]) -> Tensor:
    counts = torch.tensor(lengths)
    if name == "cu_seqlens":
        return torch.cat([torch.zeros(1, dtype=torch.long), counts.cumsum(0)]).int()
    if name == "position_ids":
        return torch.cat([torch.arange(n) for n in lengths])[None]
    return torch.repeat_interleave(torch.arange(len(lengths)), counts)[None]


def differentiates(exhibit: Exhibit) -> str:
    module, what = exact(exhibit), given(exhibit).to(EXACT).cut(0, 5).rows(0, 2)
    with torch.no_grad():
        quiet = run(module, what)
    if gap(run(module, what).detach(), quiet) > NEAR:
        return "forward"
    inputs = [t.requires_grad_() for t in what.tensors() if t.is_floating_point()]
    inputs += list(module.parameters())
    told = lambda *_: run(module, what)
    if not torch.autograd.gradcheck(told, inputs, raise_exception=False, fast_mode=True):
        y = run(module, what)
        grads = torch.autograd.grad(y.sum(), inputs, allow_unused=True)
        gone = any(g is None or not g.any() for g in grads)
        return "gradient missing" if gone else "gradient wrong"
    try:
        right = torch.autograd.gradgradcheck(told, inputs, raise_exception=False, fast_mode=True)
    except RuntimeError:  # there is none, and it says so
        return ""
    return "" if right else "second gradient"


def sound(exhibit: Exhibit) -> str:
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        module, what = exhibit.make().to(dtype).eval(), given(exhibit).to(dtype)
        with torch.no_grad():
            y = run(module, what)
            want = run(copy.deepcopy(module).to(EXACT), what.to(EXACT))
        if not y.isfinite().all():
            return "not finite"
        if gap(y, want) > 8 * torch.finfo(dtype).eps * float(want.abs().max()):
            return "unsound"
    return _at_large_scores(exhibit)


def _at_large_scores(exhibit: Exhibit) -> str:
    """Whether inputs that are large, but not for float64, overflow in float32."""
    module = exhibit.make().eval()
    for size in (8, 64):
        what = given(exhibit).each(lambda t, size=size: t * size if t.is_floating_point() else t)
        with torch.no_grad():
            want = run(copy.deepcopy(module).to(EXACT), what.to(EXACT))
            if (~run(module, what).isfinite() & want.isfinite()).any():
                return "not finite"
    return ""


def compiles(exhibit: Exhibit) -> str:
    exhibit = turned(exhibit)
    module, what = exact(exhibit), given(exhibit).to(EXACT)
    x = what.tensors()[0]
    if exhibit.kind == "operator":
        try:
            torch.library.opcheck(torch.ops.trilby_gallery.shifted.default, (x,))
        except Exception:
            return "operator"
        return ""
    with torch.no_grad():
        compiled = torch.compile(module, backend="aot_eager")
        return "compiled differs" if gap(run(compiled, what), run(module, what)) > NEAR else ""


def _turned(probe: Callable[[Exhibit], str]) -> Callable[[Exhibit], str]:
    return lambda exhibit: probe(turned(exhibit))


_PROBES: dict[str, Callable[[Exhibit], str]] = dict(
    repeats=repeats,
    causal=causal,
    resumes=resumes,
    isolated=isolated,
    padding=padding,
    documents=documents,
    differentiates=differentiates,
    sound=sound,
    compiles=compiles,
)
PROBES = {law: _turned(probe) for law, probe in _PROBES.items()}
