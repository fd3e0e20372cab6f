"""The card of a mixer: order of forms, signature, help, attributes."""

import inspect
import pydoc

import pytest

from tests.mixers.sweep import EVERY
from trilby.card import FORMS, Mixer
from trilby.contract import WIDE, Contract
from trilby.errors import FormError
from trilby.mixers import MIXERS


@pytest.mark.parametrize("mixer", EVERY)
def test_every_form_is_there_or_excused_and_in_order(mixer):
    assert list(mixer.forms) == [name for name in FORMS if name in mixer.forms]
    assert sorted([*mixer.forms, *mixer.absent]) == sorted(FORMS)
    assert all(isinstance(why, str) and " " in why for why in mixer.absent.values())
    for name, form in mixer.forms.items():
        assert (form.__name__, form.__module__) == (name, f"trilby.mixers.{mixer.name}")
        assert getattr(mixer, name) is form


@pytest.mark.parametrize("mixer", EVERY)
def test_all_forms_share_one_signature(mixer):
    contract = inspect.signature(mixer.forms["loop"])
    for form in [*mixer.forms.values(), mixer.weights]:
        shared = [
            p
            for p in inspect.signature(form).parameters.values()
            if p.kind is not p.KEYWORD_ONLY or p.name in mixer.contract.arguments
        ]
        assert shared == list(contract.parameters.values())
    for form in mixer.forms.values():
        assert inspect.signature(form).return_annotation == contract.return_annotation
        options = inspect.signature(form).parameters.values()
        assert all(p.default is not p.empty for p in options if p.kind is p.KEYWORD_ONLY)


@pytest.mark.parametrize("mixer", EVERY)
def test_the_call_shows_the_contract_and_the_form(mixer):
    *shared, form = inspect.signature(mixer).parameters.values()
    assert shared == list(inspect.signature(mixer.forms["loop"]).parameters.values())
    assert (form.name, form.kind, form.default) == ("form", form.KEYWORD_ONLY, None)
    assert MIXERS[mixer.name] is mixer


@pytest.mark.parametrize("mixer", EVERY)
def test_help_reads_as_the_room(mixer):
    text = pydoc.render_doc(mixer, renderer=pydoc.plaintext)
    assert mixer.__doc__ == inspect.getdoc(inspect.getmodule(mixer.loop))
    assert mixer.__doc__.splitlines()[0] in text
    for word in ("Contract", "Reading order", "Source"):
        assert word in mixer.__doc__
    assert set(mixer.forms) <= set(dir(mixer))
    for name in mixer.forms:
        assert name in text


@pytest.mark.parametrize("mixer", EVERY)
def test_a_form_does_not_call_another(mixer):
    for name, form in mixer.forms.items():
        called = set(form.__code__.co_names) & {*mixer.forms, "weights"}
        assert not called - {name, "softmax"}, (
            f"{name} names {called}"
        )  # softmax: a method of torch


def _card(best):
    def loop(x, state=None):
        return "loop", x, state

    def step(x, state=None):
        return "step", x, state

    contract = Contract("toy", x="B T C", state=dict(state=("B C", WIDE)), documents=False)
    return Mixer(contract, dict(loop=loop, step=step), dict(scan="why not"), best, loop, lambda: ())


def test_the_call_takes_the_best_form_or_the_one_that_is_named():
    toy = _card(lambda x, state=None: "step" if x else "loop")
    assert toy(1) == ("step", 1, None)
    assert toy(0, state=2) == toy(x=0, state=2) == ("loop", 0, 2)
    assert toy(1, 2, form="loop") == ("loop", 1, 2)
    assert repr(toy) == "<mixer toy(x, state=None, *, form=None), forms loop step>"


def test_a_form_that_is_asked_for_and_absent_never_falls_back():
    toy = _card(lambda x, state=None: "step")
    with pytest.raises(FormError, match=r"^toy: there is no form 'scan': why not$"):
        toy(1, form="scan")
    assert not hasattr(toy, "scan")
    assert not hasattr(toy, "__array__")
