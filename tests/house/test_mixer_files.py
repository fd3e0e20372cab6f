"""Every mixer's file has the same structure; each rule about that is seen to fail."""

import inspect

import pytest

import trilby
from tests.house import mixer_files
from tests.house.tree import SOURCES

SOURCE = '''"""A mixer."""
from ..shapes import bind

class State: ...

CONTRACT = ...

def loop(x, state=None):
    return _start(x, state)

def step(x, state=None):
    return _start(x, state)

def weights(x, state=None): ...

def _start(x, state): ...

def draw(): ...

MIXER = dict(loop=loop, step=step)
'''


def loop(x: int, state: int | None = None) -> int:
    """Cost: O(1)."""
    return x


def test_the_order_of_forms_is_constant():
    listed = "loop, matrix, softmax, scan, chunk, step, shard, fused"
    assert ", ".join(mixer_files.FORMS) == listed


@pytest.mark.parametrize("mixer", trilby.MIXERS.values(), ids=list(trilby.MIXERS))
class TestEveryRoom:
    def test_card(self, mixer):
        assert mixer_files.out_of_order(mixer.forms) == []
        assert mixer_files.neither_present_nor_excused(mixer.forms, mixer.absent) == []
        assert mixer_files.other_contracts(mixer.forms) == []
        assert mixer_files.without_cost(mixer.forms) == []

    def test_source(self, mixer):
        source = SOURCES[f"trilby/mixers/{mixer.name}.py"]
        assert mixer_files.order(source) == []
        assert mixer_files.missing(source) == []
        assert mixer_files.calls_between_forms(source) == []
        assert mixer_files.loop_uses(source) == []

    def test_is_public(self, mixer):
        assert getattr(trilby, mixer.name) is mixer
        assert mixer.name in trilby.__all__
        assert list(inspect.signature(mixer).parameters)[-1] == "form"


def test_a_sound_room_is_not_blamed():
    assert (
        mixer_files.order(SOURCE)
        == mixer_files.missing(SOURCE)
        == mixer_files.calls_between_forms(SOURCE)
        == []
    )
    assert mixer_files.loop_uses(SOURCE) == []


def test_furniture_out_of_place_is_found():
    moved = SOURCE.replace("def loop", "def fused(): ...\n\ndef loop")
    assert mixer_files.order(moved) == ["loop", "step"]
    assert mixer_files.missing(SOURCE.replace("def draw", "def drew")) == ["draw"]
    assert mixer_files.missing(SOURCE.replace('"""A mixer."""', "")) == ["docstring"]


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        (
            "def step(x, state=None):\n    return _start",
            "def step(x, state=None):\n    return loop",
            0,
        ),
        ("def _start(x, state): ...", "def _start(x, state): return MIXER['loop']", 1),
    ],
)
def test_a_form_that_calls_a_form_is_found(old, new, found):
    source = SOURCE.replace(old, new)
    assert source != SOURCE
    complaints = mixer_files.calls_between_forms(source)
    assert complaints == [["step -> loop"], ["loop -> MIXER", "step -> MIXER"]][found]


def test_shard_alone_may_make_the_plain_call():
    def complaints(name: str, call: str) -> list[str]:
        form = f"def {name}(x, state=None):\n    return {call}(x, state)\n\ndef weights"
        return mixer_files.calls_between_forms(SOURCE.replace("def weights", form))

    assert complaints("shard", "MIXER.local") == []
    assert complaints("shard", "MIXER") == ["shard -> MIXER"]
    assert complaints("shard", "step") == ["shard -> step"]
    assert complaints("fused", "MIXER.local") == ["fused -> MIXER"]


@pytest.mark.parametrize("used", ["bind", "weights", "step"])
def test_a_loop_that_leans_on_us_is_found(used):
    leaning = SOURCE.replace("    return _start", f"    {used}(x)\n    return _start", 1)
    assert mixer_files.loop_uses(leaning) == [used]


def test_a_loop_that_imports_us_inside_is_found():
    leaning = SOURCE.replace(
        "    return _start", "    from ..kernels import ops\n    return _start", 1
    )
    assert mixer_files.loop_uses(leaning) == ["kernels"]


def test_a_form_neither_present_nor_excused_is_found():
    excuse = dict.fromkeys(mixer_files.FORMS[2:], "there is none yet")
    assert mixer_files.neither_present_nor_excused(["loop", "matrix"], excuse) == []
    assert mixer_files.neither_present_nor_excused(["loop"], excuse) == ["matrix"]
    assert mixer_files.neither_present_nor_excused(["loop", "matrix", "scan"], excuse) == ["scan"]
    assert mixer_files.neither_present_nor_excused(["loop", "matrix", "quick"], excuse) == ["quick"]
    assert mixer_files.neither_present_nor_excused(["loop", "matrix"], excuse | {"scan": "no"}) == [
        "scan"
    ]


def test_forms_out_of_order_are_found():
    assert mixer_files.out_of_order(["loop", "step", "scan"]) == ["loop", "step", "scan"]


def test_another_contract_is_found():
    def renamed(y: int, state: int | None = None) -> int: ...
    def defaulted(x: int, state: int | None = 0) -> int: ...
    def untyped(x, state: int | None = None) -> int: ...
    def returning(x: int, state: int | None = None) -> str: ...
    def demanding(x: int, state: int | None = None, *, size: int) -> int: ...
    def extended(x: int, state: int | None = None, *, size: int = 4) -> int: ...

    wrong = dict(a=renamed, b=defaulted, c=untyped, d=returning, e=demanding)
    assert mixer_files.other_contracts(dict(loop=loop, f=extended, **wrong)) == list(wrong)


def test_a_form_without_its_cost_is_found():
    assert mixer_files.without_cost(dict(loop=loop, scan=lambda x: x)) == ["scan"]
