"""Packed sequences: `cu_seqlens` and `seq_idx` against each sequence alone."""

from itertools import pairwise

import pytest
import torch

from tests.functional import test_delta_rule as rules
from tests.functional.outside import NARROW, normal, same
from trilby.functional import (
    causal_conv1d_fn,
    mamba_chunk_scan_combined,
    mamba_split_conv1d_scan_combined,
)
from trilby.functional.packed import of_index

BORDERS = [0, 3, 3, 4, 7]  # the second sequence is empty
CUTS = [slice(a, b) for a, b in pairwise(BORDERS)]
OFFSETS = torch.tensor(BORDERS, dtype=torch.int32)
INDEX = torch.tensor([[5, 5, 5, 2, 9, 9, 9]], dtype=torch.int32)  # neither from 0 nor ascending
FULL = [cut for cut in CUTS if cut.start < cut.stop]
T = BORDERS[-1]


def one_row(call, state):
    given = rules.rule(False) if call in rules.RULES else rules.kimi(False)
    row = {n: t[:1] for n, t in given.items()}
    states = normal(len(CUTS), rules.HV, rules.K, rules.V)
    return row | (dict(initial_state=states) if state else {})


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("state", [True, False])
@pytest.mark.parametrize("call", rules.RULES + rules.KIMI)
def test_sequences_of_the_delta_rules_have_a_state_each(call, state, last):
    def packed(**row):
        return call(**row, cu_seqlens=OFFSETS, output_final_state=last)

    def alone(initial_state=None, **row):
        results = [
            call(
                **{n: t[:, cut] for n, t in row.items()}, output_final_state=True,
                initial_state=None if initial_state is None else initial_state[i : i + 1],
            )
            for i, cut in enumerate(CUTS)
        ]  # fmt: skip
        y, states = (
            torch.cat(parts, axis)
            for axis, parts in zip((1, 0), zip(*results, strict=True), strict=True)
        )
        return (y, states) if last else y

    same(packed, alone, one_row(call, state))


def test_states_of_packed_sequences_may_have_values_first():
    row = one_row(rules.chunk_kda, True)
    how = dict(cu_seqlens=OFFSETS, output_final_state=True)
    y, last = rules.chunk_kda(**row, **how)
    row["initial_state"] = row["initial_state"].mT
    right, turned = rules.chunk_kda(**row, **how, state_v_first=True)
    torch.testing.assert_close((y, last), (right, turned.mT), **NARROW)


@pytest.mark.parametrize("initial", [True, False])
def test_sequences_of_a_convolution(initial):
    row = dict(x=normal(1, 3, T), weight=normal(3, 4), bias=normal(3))
    row |= dict(initial_states=normal(1, 3, 3, seed=1)) if initial else {}

    def alone(x, weight, bias, initial_states=None):
        first = [initial_states] + [None] * len(FULL)
        parts = [
            causal_conv1d_fn(x[..., cut], weight, bias, None, past, activation="silu")
            for cut, past in zip(FULL, first, strict=False)
        ]
        return torch.cat(parts, -1)

    same(lambda **given: causal_conv1d_fn(**given, seq_idx=INDEX, activation="silu"), alone, row)


def scanned(**more):
    H, P, G, N = 4, 3, 2, 5
    return dict(
        x=normal(1, T, H, P), dt=normal(1, T, H), A=-normal(H).exp(), B=normal(1, T, G, N),
        C=normal(1, T, G, N, seed=1), initial_states=normal(1, H, P, N), **more,
    )  # fmt: skip


@pytest.mark.parametrize("final", [True, False])
@pytest.mark.parametrize("varlen", [True, False])
def test_sequences_of_mamba2_begin_anew(varlen, final):
    how = dict(chunk_size=4, dt_softplus=True)

    def packed(**row):
        return mamba_chunk_scan_combined(
            **row, **how, seq_idx=INDEX, cu_seqlens=OFFSETS, return_final_states=final,
            return_varlen_states=varlen,
        )  # fmt: skip

    def alone(A, initial_states, **row):
        results = [
            mamba_chunk_scan_combined(
                **{n: t[:, cut] for n, t in row.items()}, **how, A=A, return_final_states=True,
                initial_states=initial_states if cut.start == 0 else None,
            )
            for cut in CUTS
        ]  # fmt: skip
        y, states = (
            torch.cat(parts, axis)
            for axis, parts in zip((1, 0), zip(*results, strict=True), strict=True)
        )
        return y, *([states[-1:]] if final else []), *([states] if varlen else [])

    same(packed, alone, scanned())


def test_each_row_has_sequences_of_its_own():
    given = scanned()
    two = {n: t if n == "A" else torch.cat([t, t.flip(1)]) for n, t in given.items()}
    index = torch.cat([INDEX, torch.zeros_like(INDEX)])
    y = mamba_chunk_scan_combined(**two, chunk_size=4, seq_idx=index)
    for i in range(2):
        own = {n: t if n == "A" else t[i : i + 1] for n, t in two.items()}
        right = mamba_chunk_scan_combined(**own, chunk_size=4, seq_idx=index[i : i + 1])
        torch.testing.assert_close(y[i : i + 1], right, **NARROW)


def test_the_layer_of_mamba2_separates_its_convolution_too():
    H, P, G, N = 4, 3, 2, 5
    wide = H * P + 2 * G * N
    row, kernel = normal(1, T, H * P + wide + H), normal(wide, 4)
    rest = (None, normal(H), -normal(H).exp(), normal(H), 4)
    how = dict(headdim=P, ngroups=G, rmsnorm_weight=normal(H * P))
    y = mamba_split_conv1d_scan_combined(row, kernel, *rest, **how, seq_idx=INDEX)
    parts = [mamba_split_conv1d_scan_combined(row[:, cut], kernel, *rest, **how) for cut in FULL]
    torch.testing.assert_close(y, torch.cat(parts, 1), **NARROW)


def test_a_compiled_index_is_the_same_and_a_negative_one_is_refused():
    """A graph cannot raise on what it computes, so an assertion is part of it."""
    torch._dynamo.reset()
    run = torch.compile(lambda i: of_index("f", i, 1, 4), backend="aot_eager", fullgraph=True)
    assert run(torch.tensor([[3, 3, 1, 1]])).tolist() == [[0, 0, 1, 1]]
    with pytest.raises(RuntimeError, match=r"^f: seq_idx has a negative number$"):
        run(torch.tensor([[0, 0, -1, 1]]))
