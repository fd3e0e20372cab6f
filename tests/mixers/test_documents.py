"""Packed documents, in every form of every mixer: each is as if it were alone."""

import pytest
import torch

from tests.mixers.sweep import (
    EVERY,
    FORMS,
    FUSED,
    drawn,
    extended,
    fields,
    laid_out,
    like,
    on_sequences,
    past,
    sequences,
)  # fmt: skip

PACKED = {  # the lengths of the documents of two rows
    "short": ([3, 1, 1, 4], [1, 8]),
    "blocks": ([64, 1, 63, 2], [1, 127, 1, 1]),
    "tails": ([65, 65], [128, 2]),
}


def ids(lengths):
    """Ids that never decrease and are not numbered in steps of one."""
    rows = [[3 * i - 2 for i, n in enumerate(row) for _ in range(n)] for row in lengths]
    return torch.tensor(rows)


def alone(mixer, form, given, state, lengths, longest):
    """Each document by itself: the state enters the first of a row and leaves from the last, as
    long as another one.
    """
    rows, ends = [], []
    for b, row in enumerate(lengths):
        split = on_sequences(mixer, given, lambda x, b=b, row=row: x[b : b + 1].split(row, 1))
        parts = [on_sequences(mixer, split, lambda x, i=i: x[i]) for i in range(len(row))]
        after = like(state, [t[b : b + 1] for t in fields(state)])
        found = []
        for i, part in enumerate(parts):
            y, after = form(*part, after if i == 0 else None)
            found.append(y)
        rows.append(torch.cat(found, 1))
        ends.append(fields(extended(mixer, after, longest)))
    return torch.cat(rows), like(state, [torch.cat(t) for t in zip(*ends, strict=True)])


@pytest.mark.parametrize("kind", list(PACKED))
@pytest.mark.parametrize(("mixer", "form"), FORMS)
def test_each_document_equals_the_document_alone(mixer, form, kind):
    lengths = PACKED[kind]
    given, state = drawn(mixer, T=sum(lengths[0]), C=3), past(mixer, C=3)
    y, after = form(*given, state, ids(lengths))
    wanted, end = alone(mixer, form, given, state, lengths, after)
    torch.testing.assert_close(y, wanted, rtol=1e-11, atol=1e-12)
    for got, right in zip(fields(after), fields(end), strict=True):
        torch.testing.assert_close(got, right, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("mixer", "form"), FORMS)
def test_the_other_documents_change_nothing_to_the_bit(mixer, form, dtype):
    documents = ids(PACKED["blocks"])
    given, other = (drawn(mixer, T=130, C=3, seed=s, dtype=dtype) for s in (0, 1))
    state = past(mixer, C=3, dtype=dtype)
    y, _ = form(*given, state, documents)
    for one in documents.unique().tolist():
        kept = documents == one
        mixed = on_sequences(
            mixer,
            given,
            lambda x, z, kept=kept: x.where(kept.view(*kept.shape, *[1] * (x.ndim - 2)), z),
            other,
        )
        z, _ = form(*mixed, state, documents)
        assert torch.equal(z[kept], y[kept])


@pytest.mark.parametrize(("mixer", "form"), FORMS)
def test_gradients_stay_inside_a_document_and_are_those_of_the_loop(mixer, form):
    documents, found = ids(PACKED["short"]), []
    for way in (form, mixer.forms["loop"]):
        given = [x.requires_grad_() for x in drawn(mixer, T=9, C=3)]
        y, after = way(*given, None, documents)
        out = y.pow(2).sum() + sum(t.sin().sum() for t in fields(after))
        found.append(torch.autograd.grad(out, given))
        leak = torch.autograd.grad(way(*given, None, documents)[0][0, 3:].sum(), given)
        assert all(bool((x[0, :3] == 0).all()) for x in sequences(mixer, leak))
    for got, wanted in zip(*found, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("layout", ["plain", "series", "stepped"])
@pytest.mark.parametrize("mixer", FUSED)
def test_the_kernel_in_other_layouts_and_over_threads(mixer, layout):
    documents = ids(([3000, 1000], [1, 3999]))
    given = drawn(mixer, T=4000, C=8, dtype=torch.float32)
    wanted = mixer.forms["fused"](*given, None, documents)[0]
    strided = on_sequences(mixer, given, lambda x: laid_out(x, layout))
    assert torch.equal(mixer.forms["fused"](*strided, None, documents)[0], wanted)


@pytest.mark.parametrize("mixer", EVERY)
def test_one_document_is_none(mixer):
    given, state = drawn(mixer, T=9), past(mixer)
    same = torch.full((2, 9), 5, dtype=torch.int32)
    for form in mixer.forms.values():
        torch.testing.assert_close(form(*given, state, same), form(*given, state))


@pytest.mark.parametrize("mixer", EVERY)
def test_documents_may_be_unknown_while_compiling(mixer):
    packed = ids(PACKED["short"])
    torch._dynamo.reset()
    fast = torch.compile(lambda *a: mixer(*a)[0], fullgraph=True, backend="aot_eager")
    given = *drawn(mixer, T=9), None, packed
    torch.testing.assert_close(fast(*given), mixer(*given)[0])
