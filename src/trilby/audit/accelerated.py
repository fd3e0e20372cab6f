"""The adapter for transformers whose layers call trilby's functions: `--accelerated`."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from ..transformers import accelerate
from ..verify import Verdict
from .adapter import Built, NotBuilt
from .causal_lm import CausalLM
from .transformers import Transformers, called, make


class Accelerated(Transformers):
    """The same types, built alike and accelerated; those without such layers are not built."""

    name = "transformers"

    def build(self, kind: str, dtype: torch.dtype) -> Built:
        self.version()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = make(kind, dtype)
            report = accelerate(model)
            if not report:
                raise NotBuilt(f"nothing to accelerate: {report.why}")
            built = _packed(called(kind, model))
        ways = {way: partial(_fast, make) for way, make in built.ways.items()}
        facts = {**built.facts, "replaced": sorted({n for x in report.layers for n in x.seen})}
        return replace(built, limit=_packing_holds(built.limit), ways=ways, facts=facts)


def _fast(make_one: Callable[[], Any]) -> Any:
    made = make_one()
    accelerate(made.model)
    return made


def _packed(built: Built) -> Built:
    """Also where a type takes no positions of its own, they say where packed sequences begin."""
    if built.module.counts:
        return built
    module, ids = CausalLM(built.module.model), built.example(1, 6, 0)["input_ids"]
    module.start, module.whole = built.module.start, built.module.whole
    positions = torch.arange(6)[None]
    with torch.no_grad():
        try:
            same = torch.equal(module(ids, position_ids=positions).logits, built.module(ids).logits)
        except TypeError:  # its forward takes no such keyword
            same = False
    return (
        replace(built, module=module, how={**built.how, "documents": "position_ids"})
        if same
        else built
    )


def _packing_holds(limit: Callable[[Verdict], str]) -> Callable[[Verdict], str]:
    """That recurrent layers mix packed sequences is no limitation of accelerated ones."""
    return lambda verdict: "" if verdict.law == "documents" else limit(verdict)


ADAPTER = Accelerated()
