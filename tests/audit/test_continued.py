"""Laws of calls that continue from a cache, each with a toy that breaks it and one that holds."""

from types import SimpleNamespace

import torch
from torch import nn

from trilby.audit.adapter import Built, tokens
from trilby.audit.continued import pads, pieces


class Decay(nn.Module):
    """A decaying sum of embeddings; with `guard` several tokens at once begin without a state,
    with `blind` a continued call ignores the mask."""

    counts = False

    def __init__(self, guard=False, blind=False):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(8, 4).double()
        self.guard, self.blind = guard, blind
        self.model = SimpleNamespace(config=SimpleNamespace(pad_token_id=0))

    def forward(self, input_ids, attention_mask=None, past_key_values=None, use_cache=False):
        T = input_ids.shape[1]
        real = torch.ones_like(input_ids) if attention_mask is None else attention_mask[:, -T:]
        state = (
            torch.zeros(len(input_ids), 4).double() if past_key_values is None else past_key_values
        )
        if past_key_values is not None:
            state = state if T == 1 or not self.guard else 0 * state
            real = torch.ones_like(real) if self.blind else real
        y = []
        for t in range(T):
            now = 0.5 * state + self.embedding(input_ids[:, t])
            state = torch.where(real[:, t, None] == 1, now, state)
            y.append(state)
        return SimpleNamespace(logits=torch.stack(y, 1), past_key_values=state)


def built(**faults):
    how = dict(vocabulary=8, carry="past", padding="attention_mask")
    return Built("toy", Decay(**faults), tokens(8, 1), how, {})


def test_what_continues_holds():
    assert pieces(built()).ok
    assert pads(built()).ok


def test_a_state_that_is_dropped_for_several_tokens_is_found():
    verdict = pieces(built(guard=True))
    assert (verdict.outcome, verdict.kind) == ("broken", "state dropped")
    assert verdict.sentence.startswith("several tokens at once, logits[")
    assert verdict.sentence.endswith("; one token at a time is right")


def test_padding_that_is_not_masked_in_a_continued_call_is_found():
    verdict = pads(built(blind=True))
    assert (verdict.outcome, verdict.kind) == ("broken", "padding")
    assert pieces(built(blind=True)).ok


def test_a_call_that_raises_is_broken():
    toy = built()
    toy.module.forward = lambda ids, **how: (
        1 / 0 if how.get("past_key_values") is not None else Decay.forward(toy.module, ids, **how)
    )
    for law in (pieces, pads):
        verdict = law(toy)
        assert (verdict.outcome, verdict.kind) == ("broken", "raises")
        assert "a continued call raises ZeroDivisionError" in verdict.sentence


def test_without_a_cache_neither_is_run():
    toy = built()
    bare = Built("toy", toy.module, toy.example, dict(vocabulary=8), {})
    assert {law(bare).outcome for law in (pieces, pads)} == {"not run"}
