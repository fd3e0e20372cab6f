"""Times over lengths: only forms that agree have one, and only clear winners are called fastest."""

from dataclasses import replace

import pytest
import torch

import trilby
from trilby.bench import Growth, Timings, growth
from trilby.bench.memory import peak


def draw(T):
    return trilby.mean.draw(B=1, T=T, C=2)


def found(**seconds: list[float]) -> Growth:
    return Growth("m", "", {64: Timings(seconds)}, {}, {}, {}, {})


def wrong(x, state=None):
    y, state = trilby.mean.scan(x, state)
    return 1.01 * y, state


def wrong_from_ten_on(x, state=None):
    y, state = trilby.mean.scan(x, state)
    return (y if x.shape[1] < 16 else torch.cat([y[:, :10], 1.01 * y[:, 10:]], 1)), state


@pytest.mark.parametrize(("form", "first"), [(wrong, 4), (wrong_from_ten_on, 16)])
def test_a_form_that_does_not_agree_has_no_time_from_there_on(form, first):
    mixer = replace(trilby.mean, forms={**trilby.mean.forms, "scan": form})
    taken = growth(mixer, draw, sizes=(4, 8, 16, 32), rounds=1)
    assert taken.refused == ["scan"]
    assert [T for T, t in taken.timings.items() if "scan" in t.seconds] == [
        T for T in (4, 8) if first > T
    ]
    assert taken.ended["scan"].startswith(f"not timed, as it does not agree at T = {first}: ")
    assert set(taken.timings[32].seconds) == {*trilby.mean.forms} - {"scan"}


def test_a_slow_form_ends_and_it_is_said():
    taken = growth(trilby.mean, draw, sizes=(4, 8), rounds=1, patience=0.0)
    assert list(taken.timings) == [4]
    assert "not timed from T = 8 on: a call takes " in taken.ended["fused"]


@pytest.mark.parametrize(
    ("a", "b", "names"),
    [
        ([1.0] * 9, [2.0] * 9, ["a"]),
        ([1.0] * 8 + [3.0], [2.0] * 9, ["a"]),  # by chance once in fifty times
        ([1.0] * 7 + [3.0] * 2, [2.0] * 9, ["a", "b"]),  # once in eleven
        ([1.0] * 4, [2.0] * 4, ["a", "b"]),  # four rounds can show nothing
        ([1.0] * 9, [1.0] * 9, ["a", "b"]),
    ],
)
def test_fastest_is_a_test_of_signs(a, b, names):
    assert found(a=a, b=b).fastest(64) == names


def test_the_crossover_in_words():
    fast, slow = [1.0] * 9, [2.0] * 9
    times = {
        64: Timings({"loop": fast, "scan": slow}),
        128: Timings({"loop": fast, "scan": slow}),
        256: Timings({"loop": fast, "scan": fast}),
        512: Timings({"loop": slow, "scan": fast}),
    }
    taken = Growth("m", "", times, {}, {}, {}, {})
    assert taken.crossings() == [
        "T = 64 to 128: loop is fastest.",
        "T = 256: inconclusive between loop and scan.",
        "T = 512: scan is fastest.",
    ]
    assert taken.slope("loop") == pytest.approx(0.5)  # twice as long over four times the length
    assert found(a=[1.0]).slope("a") is None


def test_memory_is_what_a_call_gets_beside_its_arguments():
    x = torch.ones(1000)
    kept = torch.empty(1000)
    assert peak(lambda: torch.add(x, x, out=kept)) == 0
    assert peak(lambda: (x + x) * (x + x)) in range(12_000, 13_000)  # two sums and their product
    assert peak(lambda: [x + x for _ in range(5)]) in range(20_000, 21_000)
    assert peak(lambda: [float((x + x)[0]) for _ in range(5)]) in range(4_000, 9_000)
