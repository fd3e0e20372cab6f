"""Other methods of finding such faults, each on one exhibit: "found", "" for no complaint, "-"
where the method does not apply, "near" where rounding is near the limit of the method, so that the
result depends on the processor.

They are used as their users would use them: on the example, in float32 and evaluation mode. What
the label says about padding and state is passed to those that have an option for it. None has one
for a lookahead, so none applies to a module that may look ahead.
"""

from collections.abc import Callable, Iterator
from functools import cache, wraps
from typing import Any

import torch
from torch import Tensor

import trilby
from tests.gallery.plain import Given, given, picked
from tests.gallery.plain_streams import restart
from trilby.gallery import GALLERY, LAWS, Exhibit

FOUND, CONTENT, NO, NEAR = "found", "", "-", "near"
LIMIT = 1e-6
FACTOR = 3.0  # rounding differs from processor to processor, by less than this


def bump_the_last(exhibit: Exhibit) -> str:
    """Change the last token; `allclose` on all outputs before it."""
    module, what = exhibit.make().eval(), given(exhibit)
    T = what.tensors()[0].shape[1]
    with torch.no_grad():
        before = _run(module, what)
        after = _run(module, what.redrawn(slice(None), slice(T - 1, None), 1))
    return _said(not torch.allclose(after[:, :-1], before[:, :-1]))


def prefix(exhibit: Exhibit) -> str:
    """`f(x[:, :t])` within 1e-6 of `f(x)[:, :t]`, for every t."""
    module, what = exhibit.make().eval(), given(exhibit)
    with torch.no_grad():
        y = _run(module, what)
        heads = (_run(module, what.cut(0, t)) for t in range(1, y.shape[1]))
        far = [float((head - y[:, : head.shape[1]]).abs().max()) for head in heads]
    return limited(max(far))


def limited(far: float) -> str:
    """What a fixed limit says of a difference, where it says the same on every processor."""
    near = LIMIT / FACTOR < far < LIMIT * FACTOR
    return NEAR if near else _said(not far <= LIMIT)


def nan_poison(exhibit: Exhibit) -> str:
    """Put NaN from t on; no new NaN may appear before t, for every t."""
    module, what = exhibit.make().eval(), given(exhibit)
    if not _floating(what):
        return NO
    T = what.tensors()[0].shape[1]

    def spoiled(x: Tensor, t: int) -> Tensor:
        x = x.clone()
        x[:, t:] = torch.nan
        return x

    with torch.no_grad():
        clean = _run(module, what).isnan()
        for t in range(1, T):
            poisoned = what.each(lambda x, t=t: spoiled(x, t))
            if (_run(module, poisoned)[:, :t].isnan() & ~clean[:, :t]).any():
                return FOUND
    return CONTENT


def gradient_certificate(exhibit: Exhibit) -> str:
    """`causal_certificate.certify`: gradients from the past to the future, and between rows."""
    from causal_certificate import certify

    module, what = exhibit.make().eval(), given(exhibit)
    if not _floating(what):
        return NO
    x, *more = what.tensors()
    with_more = lambda x: picked(module(x, *more, **what.along))
    report = certify(with_more, x)
    return _said(not report.ok)


def pytest_torch(exhibit: Exhibit) -> str:
    """Its contract (bfloat16, float16 too), gradients, compile parity, padding and streaming."""
    try:
        for check in _battery(exhibit):
            check()
    except (AssertionError, RuntimeError):  # a test that raises fails as well
        return FOUND
    return CONTENT


def _battery(exhibit: Exhibit) -> Iterator[Callable[[], Any]]:
    import pytest_torch as pt

    halves = (torch.bfloat16, torch.float16)
    module, example = exhibit.make().eval(), exhibit.example()
    yield lambda: pt.check_inference_contract(module, example, dtypes=halves)
    yield lambda: pt.assert_compile_parity(module, example, backend="aot_eager")
    what = given(exhibit)
    if _floating(what) and not what.named:
        small = tuple(t[:1, :4] for t in what.tensors())
        yield lambda: pt.assert_gradcheck(module, small)
    if isinstance(exhibit.how.get("padding"), str) and not what.keywords:
        x = dict(x=what.tensors()[0], mask=torch.ones(2, 16))
        for side in ("left", "right"):
            keys: dict[str, Any] = dict(ids_key="x", mask_key="mask", side=side, pad_value=3)
            yield lambda keys=keys: pt.assert_padding_invariant(exhibit.make().eval(), x, **keys)
    if "carry" in exhibit.how:
        stream, start = _streamed(exhibit, module)
        how, keywords = exhibit.how["carry"]
        sizes = (1,) if how == "by_methods" and "chunk" not in keywords else (1, 7, 32)
        sizes = (keywords["exactly"],) if "exactly" in keywords else sizes
        full = lambda x: picked(module(x))
        yield lambda: pt.assert_streaming_equivalent(
            full, stream, what.tensors()[0], init_state=start, chunk_sizes=sizes
        )


def _streamed(exhibit: Exhibit, module: Any) -> tuple[Callable[..., Any], Callable[[], Any]]:
    """(chunk, state) -> (output, state), and what makes the first state."""
    how, keywords = exhibit.how["carry"]
    if how == "by_cache":
        return lambda x, c: (module(x, cache=c), c), getattr(module, keywords["start"])
    if how == "by_module":
        other: Any = exhibit.make().eval()  # the module itself gives the whole
        return lambda x, s: (other(x), s), lambda: restart(other, keywords["reset"], 2)
    if how == "by_methods" and "chunk" in keywords:
        several = getattr(module, keywords["chunk"])
        one = several if "exactly" in keywords else module.step
        return lambda x, s: (one if x.shape[1] == 1 else several)(x, s), lambda: module.init_state(
            2
        )
    if how == "by_methods":

        def one(x: Tensor, state: Any) -> tuple[Tensor, Any]:
            y, state = module.step(x[:, 0], state)
            return y[:, None], state

        return one, lambda: module.init_state(2)
    if how == "by_past":

        def past(x: Tensor, state: Any) -> tuple[Tensor, Any]:
            said = module(x, past_key_values=state)
            return said.logits, said.past_key_values

        return past, lambda: None
    return lambda x, s: module(x, state=s), lambda: None


def ours(exhibit: Exhibit) -> str:
    """Every law at the default effort, with the options of the label."""
    return _said(verdict(exhibit.name) != ("", ""))


@cache
def verdict(name: str) -> tuple[str, str]:
    """The first law that the verifier finds broken, and the cause that it reports."""
    exhibit = GALLERY[name]
    report = trilby.check(exhibit.make(), exhibit.example(), laws=LAWS, **exhibit.asked())
    broken = report.failed()
    return (broken[0].law, broken[0].kind) if broken else ("", "")


def _run(module: Any, what: Given) -> Tensor:
    return picked(module(*what.args, **what.named)).clone()


def _floating(what: Given) -> bool:
    return what.tensors()[0].is_floating_point()


def _said(found: bool) -> str:
    return FOUND if found else CONTENT


def _of_causal(way: Callable[[Exhibit], str]) -> Callable[[Exhibit], str]:
    """The method, not applied to a module that may look ahead."""
    return wraps(way)(lambda exhibit: NO if "lookahead" in exhibit.how else way(exhibit))


PLAIN: dict[str, Callable[[Exhibit], str]] = {
    "bump the last token": _of_causal(bump_the_last),
    "prefix at 1e-6": _of_causal(prefix),
    "NaN poison": _of_causal(nan_poison),
}
"""Methods of a few lines; a test runs them."""

PACKAGES: dict[str, Callable[[Exhibit], str]] = {
    "causal-certificate": _of_causal(gradient_certificate),
    "pytest-torch": _of_causal(pytest_torch),
}
"""Methods that are packages: `requirements/peers.txt`."""

OURS: dict[str, Callable[[Exhibit], str]] = {"trilby.check": ours}
"""The verifier."""
