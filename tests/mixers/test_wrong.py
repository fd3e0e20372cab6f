"""What every form of every mixer says to wrong input: one line with the call, the argument, its
value and what to do."""

import inspect
import re

import numpy as np
import pytest
import torch

from tests.mixers.sweep import EVERY, FUSED, drawn, fields, like, past
from trilby.card import FORMS
from trilby.errors import CallError, DocumentError, DtypeError, FormError, ShapeError, TrilbyError
from trilby.mixers import MIXERS

B, T, C = 2, 5, 4  # C: channels, heads, keys and values
PATTERNS = {  # the sequences of every mixer, and their axes
    mixer.name: {n: " ".join(mixer.contract.arguments[n].axes) for n in mixer.contract.sequences}
    for mixer in MIXERS.values()
}
PARAMETERS = [
    pytest.param(mixer, name, id=f"{mixer.name}, {name}")
    for mixer in MIXERS.values()
    for name in mixer.contract.named(mixer.draw())  # those that are left out have their own tests
    if name in mixer.contract.parameters and mixer.contract.arguments[name].axes
]
DOCUMENTS = torch.tensor([[0, 0, 3, 3, 3], [1, 2, 2, 2, 9]])
TAKES = "expected float64, float32, bfloat16 or float16; convert it first, e.g."
ARGUMENTS = [
    pytest.param(mixer, name, pattern, id=f"{mixer.name}, {name}")
    for mixer in MIXERS.values()
    for name, pattern in PATTERNS[mixer.name].items()
]


def given(mixer, **changed):
    """Valid arguments by name, some of them changed, in float32."""
    valid = mixer.contract.named(drawn(mixer, B=B, T=T, C=C, dtype=torch.float32))
    state = past(mixer, B=B, C=C, dtype=torch.float32)
    return valid | dict(state=state, documents=DOCUMENTS) | changed


def places(mixer):
    """The arguments of a call that may be given by place, and all of them."""
    takes = inspect.signature(mixer.forms["loop"]).parameters
    return [name for name, p in takes.items() if p.kind is not p.KEYWORD_ONLY], [*takes]


def refused(mixer, error, sentence, **changed):
    """Every form, `weights` and the plain call refuse it with that sentence after their name."""
    ways = {f"{mixer.name}.{n}": f for n, f in mixer.forms.items()}
    ways[f"{mixer.name}.weights"] = mixer.weights
    best = mixer.best(*drawn(mixer, B=B, T=T, C=C))
    for where, call in (*ways.items(), (f"{mixer.name}.{best}", mixer)):
        with pytest.raises(error) as caught:
            call(**given(mixer, **changed))
        assert type(caught.value) is error
        said = str(caught.value)
        assert said == f"{where}: {sentence}"
        assert "\n" not in said
        assert len(said) < 220


def test_every_room_is_swept():
    assert PATTERNS.keys() == MIXERS.keys()
    for mixer in MIXERS.values():
        first, every = places(mixer)
        assert first == [*[n for n in given(mixer) if n in first[:-2]], "state", "documents"]
        assert set(every) == {*mixer.contract.arguments, "state", "documents"}
        assert all(len(given(mixer)[n].shape) == len(p.split())
                   for n, p in PATTERNS[mixer.name].items())  # fmt: skip
        for call in (mixer, *mixer.forms.values(), mixer.weights):
            call(**given(mixer))  # what is changed below is right before


@pytest.mark.parametrize(("mixer", "name", "pattern"), ARGUMENTS)
def test_a_sequence_of_another_rank(mixer, name, pattern):
    x, rank = given(mixer)[name], len(pattern.split())
    for other, mend in ((x[0], "add the missing"), (x[None], "index or merge the extra")):
        refused(mixer, ShapeError,
                f"{name} is {list(other.shape)}, expected rank {rank} [{pattern}]; {mend} axes",
                **{name: other})  # fmt: skip


@pytest.mark.parametrize(("mixer", "name", "pattern"), ARGUMENTS)
def test_an_axis_of_another_size(mixer, name, pattern):
    first, shared = next(iter(PATTERNS[mixer.name])), {}
    for other, argument in mixer.contract.arguments.items():  # who has each letter first
        shared = dict.fromkeys(argument.axes or (), other) | shared
    for axis, letter in enumerate(pattern.split()):
        if name == first or letter == mixer.contract.shared or shared[letter] == name:
            continue  # heads may differ from tensor to tensor, within a rule of their own
        x = given(mixer)[name]
        x = x.narrow(axis, 0, x.shape[axis] - 1)
        place = mixer.contract.arguments[shared[letter]].axes.index(letter)
        size = given(mixer)[shared[letter]].shape[place]
        refused(mixer, ShapeError,
                f"{name} is {list(x.shape)}, expected [{pattern}] with {letter}={size} "
                f"(from {shared[letter]})", **{name: x})  # fmt: skip


@pytest.mark.parametrize("dtype", ["int32", "int64", "bool", "uint8", "complex64", "float8_e5m2"])
@pytest.mark.parametrize(("mixer", "name", "pattern"), ARGUMENTS)
def test_a_dtype_that_is_no_sequence(mixer, name, pattern, dtype):
    x = given(mixer)[name].to(getattr(torch, dtype))
    how = "real" if x.is_complex() else "float()"
    refused(mixer, DtypeError, f"{name} is {dtype}, {TAKES} {name}.{how}", **{name: x})


@pytest.mark.parametrize("mixer", EVERY)
def test_two_dtypes_or_two_devices_in_one_call(mixer):
    first, *others = PATTERNS[mixer.name]
    for name in others:
        x = given(mixer)[name]
        refused(mixer, DtypeError,
                f"{name} is bfloat16 but {first} is float32; give both one dtype, "
                f"e.g. {name}.to({first}.dtype)", **{name: x.bfloat16()})  # fmt: skip
        refused(mixer, DtypeError,
                f"{name} is on meta but the sequence is on cpu; move it, e.g. {name}.to('cpu')",
                **{name: x.to("meta")})  # fmt: skip


@pytest.mark.parametrize(("mixer", "name", "pattern"), ARGUMENTS)
def test_what_is_no_tensor(mixer, name, pattern):
    for x, what in (([1.0], "a list"), (np.zeros(3), "a numpy.ndarray"), (2, "an int")):
        refused(mixer, DtypeError,
                f"{name} is {what}, expected a tensor [{pattern}]; convert it first, "
                f"e.g. torch.as_tensor({name})", **{name: x})  # fmt: skip
    if mixer.contract.arguments[name].optional:
        mixer(**given(mixer, **{name: None}))
        return
    refused(mixer, DtypeError,
            f"{name} is None, expected a tensor [{pattern}]; give one", **{name: None})  # fmt: skip


@pytest.mark.parametrize("mixer", EVERY)
def test_a_state_of_another_shape_dtype_or_device(mixer):
    state = given(mixer)["state"]
    names = getattr(state, "_fields", ("state",))
    for i, (name, field) in enumerate(zip(names, fields(state), strict=True)):
        kind = str(field.dtype).removeprefix("torch.")
        wrong = "float16" if field.is_floating_point() else "int32"
        short = field[:1]
        for other, said in (
            (short, rf"{name} is \{list(short.shape)}, expected \[.*2.*"),
            (field[0], rf"{name} is \{list(field[0].shape)}, expected rank {field.ndim} .*; add"),
            (field.to(getattr(torch, wrong)), rf"{name} is {wrong}, expected {kind}; convert it, "),
            (field.to("meta"), rf"{name} is on meta but the sequence is on cpu; move it, "),
        ):
            parts = [other if i == j else one for j, one in enumerate(fields(state))]
            for call in (*mixer.forms, "weights"):
                with pytest.raises((ShapeError, DtypeError)) as caught:
                    getattr(mixer, call)(**given(mixer, state=like(state, parts)))
                assert re.match(rf"{mixer.name}\.{call}: {said}", str(caught.value)), caught.value
                assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mixer", EVERY)
def test_a_state_of_another_kind(mixer):
    for wrong, what in (([], "a list"), ({}, "a dict"), ((), "a tuple of 0"), (0.5, "a float")):
        for call in (*mixer.forms, "weights"):
            with pytest.raises(TrilbyError) as caught:
                getattr(mixer, call)(**given(mixer, state=wrong))
            start = f"{mixer.name}.{call}: state is {what}, expected "
            assert str(caught.value).startswith(start)


@pytest.mark.parametrize("mixer", EVERY)
def test_wrong_documents(mixer):
    first = next(iter(PATTERNS[mixer.name]))
    for documents, error, sentence in (
        (DOCUMENTS.flip(1), DocumentError,
         "falls from 3 to 0 at [0, 3]; ids never decrease along a row, sort the documents or "
         "number them anew"),
        (DOCUMENTS.float(), DtypeError,
         "is float32, expected int64 or int32; number the documents of a row 0, 1, 2, ..."),
        (DOCUMENTS > 1, DtypeError,
         "is bool, expected int64 or int32; number the documents of a row 0, 1, 2, ..."),
        (DOCUMENTS.to(torch.int16), DtypeError,
         "is int16, expected int64 or int32; number the documents of a row 0, 1, 2, ..."),
        (DOCUMENTS[:, :4], ShapeError, f"is [2, 4], expected [B T] with T=5 (from {first})"),
        (DOCUMENTS[:1], ShapeError, f"is [1, 5], expected [B T] with B=2 (from {first})"),
        (DOCUMENTS[0], ShapeError, "is [5], expected rank 2 [B T]; add the missing axes"),
        (DOCUMENTS.to("meta"), DtypeError,
         "is on meta but the sequence is on cpu; move it, e.g. documents.to('cpu')"),
        ([0, 5], DtypeError,
         "is a list, expected a tensor [B T]; convert it first, e.g. torch.as_tensor(documents)"),
    ):  # fmt: skip
        refused(mixer, error, f"documents {sentence}", documents=documents)


@pytest.mark.parametrize("mixer", [m for m in MIXERS.values() if "H" in str(PATTERNS[m.name])])
def test_two_numbers_of_groups(mixer):
    heads = [name for name, pattern in PATTERNS[mixer.name].items() if " H" in pattern]
    for counts, mended in (((4, 2, 1), (4, 2, 2)), ((4, 3, 4), (4, 2, 4)), ((4, 0, 4), (4, 2, 4))):
        some, rest = dict(zip(heads, counts, strict=False)), dict.fromkeys(heads[3:], 4)
        valid = given(mixer)
        told = ", ".join(f"{name} {n}" for name, n in (some | rest).items())
        mend = dict(zip(some, mended, strict=True)) | rest
        right = ", ".join(f"{name} {n}" for name, n in mend.items())
        refused(mixer, ShapeError,
                f"heads are {told}; expected one number for all, or two of which one divides the "
                f"other, e.g. {right}",
                **{name: valid[name][:, :, :n] for name, n in some.items()})  # fmt: skip


@pytest.mark.parametrize("mixer", EVERY)
def test_a_form_that_there_is_not(mixer):
    known, name = " ".join(mixer.forms), mixer.name
    x = given(mixer)
    last = [*mixer.forms][-1]
    for form, hint in ((last[:-1], f"did you mean {last!r}?"), ("zzz", "take one of"),
                       (["loop"], "did you mean 'loop'?"), (3, "take one of")):  # fmt: skip
        with pytest.raises(FormError) as caught:
            mixer(**x, form=form)
        sentence = f"{name}: form is {form!r}, which does not exist; {hint} ({known})"
        assert str(caught.value) == sentence
    absent = [form for form in FORMS if form not in mixer.forms]
    assert absent == [form for form in FORMS if form in mixer.absent]
    for form in absent:
        sentence = f"{name}: there is no form {form!r}: {mixer.absent[form]}"
        with pytest.raises(FormError) as caught:
            mixer(**x, form=form)
        assert str(caught.value) == sentence
        with pytest.raises(AttributeError) as missing:
            getattr(mixer, form)
        assert str(missing.value) == sentence
    with pytest.raises(AttributeError, match=f"^mixer {name} has no 'lop'$"):
        mixer.lop  # noqa: B018


@pytest.mark.parametrize("mixer", FUSED)
def test_a_form_that_cannot_run_here(mixer, monkeypatch):
    monkeypatch.setattr("trilby.kernels.ops.DEVICES", ("cuda", "meta"))
    first = next(iter(PATTERNS[mixer.name]))
    for call in (mixer.fused, lambda **x: mixer(**x, form="fused")):
        with pytest.raises(FormError) as caught:
            call(**given(mixer))
        start = f"{mixer.name}.fused: {first} is on cpu, the kernel runs on cuda meta; move "
        assert str(caught.value).startswith(start)
        other = re.search(r", or take form='(\w+)'$", str(caught.value))[1]
        mixer(**given(mixer), form=other)  # what it advises does run
        assert mixer.best(*drawn(mixer)) == other


@pytest.mark.parametrize("mixer", EVERY)
def test_arguments_that_the_call_does_not_take(mixer):
    takes, every = places(mixer)
    name, listed, known = mixer.name, ", ".join(takes), ", ".join(every)
    x = given(mixer)
    placed = [x[n] for n in takes]
    for arguments, named, sentence in (
        ([], x | {"dim": 1}, f": there is no argument dim (given 1) among {known}; leave it out"),
        ([], x | {"size": 3},
         f": there is no argument size (given 3) among {known}; it belongs to form='chunk'"),
        ([], x | {"size": 3, "form": "loop"},
         f".loop: there is no argument size (given 3) among {known}; it belongs to form='chunk'"),
        (placed, {takes[0]: x[takes[0]]}, f": {takes[0]} is given twice, by place and by name; "
         "drop one"),
        (placed, {"documents": None}, ": documents is given twice, by place and by name; drop one"),
        ([*placed, 3], {}, f": {len(takes) + 1} arguments by place, expected at most {len(takes)} "
         f"({listed}); leave out the rest"),
        ([*placed, 3], {"form": "chunk"}, f".chunk: {len(takes) + 1} arguments by place, expected "
         f"at most {len(takes)} ({listed}); leave out the rest"),
        *[([], {k: v for k, v in x.items() if k != n}, f": {n} is missing; the call takes {known}")
          for n in takes[:-2] if not mixer.contract.arguments[n].optional],
    ):  # fmt: skip
        with pytest.raises(CallError) as caught:
            mixer(*arguments, **named)
        assert str(caught.value) == f"{name}{sentence}"


@pytest.mark.parametrize("size", [0, -3, 2.5, "8", None])
@pytest.mark.parametrize("mixer", [m for m in MIXERS.values() if "chunk" in m.forms])
def test_a_chunk_without_a_size(mixer, size):
    with pytest.raises(ShapeError) as caught:
        mixer(**given(mixer), form="chunk", size=size)
    sentence = f"size is {size!r}, expected a whole number of positions, at least 1"
    assert str(caught.value) == f"{mixer.name}.chunk: {sentence}"


@pytest.mark.parametrize(("mixer", "name"), PARAMETERS)
def test_a_wrong_parameter(mixer, name):
    x, argument = given(mixer)[name], mixer.contract.arguments[name]
    axes, first = " ".join(argument.axes), mixer.contract.sequences[0]
    wrong = [
        (x[None], ShapeError, f"{name} is {list(x[None].shape)}, expected rank {x.ndim} [{axes}]; "
         "index or merge the extra axes"),
        (x[:-1], ShapeError, f"{name} is {list(x[:-1].shape)}, expected [{axes}] with "
         f"{argument.axes[0]}={x.shape[0]} (from {first})"),
        (x.int(), DtypeError, f"{name} is int32, {TAKES} {name}.float()"),
        (x.double(), DtypeError, f"{name} is float64 but {first} is float32; give both one dtype, "
         f"e.g. {name}.to({first}.dtype)"),
        (x.to("meta"), DtypeError,
         f"{name} is on meta but the sequence is on cpu; move it, e.g. {name}.to('cpu')"),
        ([0.5], DtypeError, f"{name} is a list, expected {argument.wanted}; convert it first, "
         f"e.g. torch.as_tensor({name})"),
        *[(None, DtypeError, f"{name} is None, expected {argument.wanted}; give one")
          for _ in range(not argument.optional)],
    ]  # fmt: skip
    for value, error, sentence in wrong:
        refused(mixer, error, sentence, **{name: value})


@pytest.mark.parametrize("mixer", EVERY)
def test_a_state_of_another_mixer_is_refused_unless_it_looks_the_same(mixer):
    """Memories [B, H, K, V] of different mixers are tensors of one shape: only those pass."""
    own = past(mixer, B=B, C=C, dtype=torch.float32)
    for other in MIXERS.values():
        state = past(other, B=B, C=C, dtype=torch.float32)
        alike = type(state) is type(own) and [t.shape for t in fields(state)] == [
            t.shape for t in fields(own)
        ]
        if not alike:
            with pytest.raises(TrilbyError, match=rf"^{mixer.name}\.\w+: "):
                mixer(**given(mixer, state=state))
