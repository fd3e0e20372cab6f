"""The clock: who runs when, and what is made of the seconds. Nothing here asserts a time."""

import gc

import pytest

from trilby.bench import Timings, interleaved
from trilby.bench import clock as module


def test_every_round_starts_one_way_later():
    seen: list[str] = []
    ways = {name: lambda name=name: seen.append(name) for name in "abc"}
    timings = interleaved(ways, rounds=4, warmup=1)
    rounds = ["".join(seen[i : i + 3]) for i in range(0, len(seen), 3)]
    assert rounds == ["cab", "abc", "bca", "cab", "abc"]  # the first warms up
    assert timings.rounds == 4
    assert [len(taken) for taken in timings.seconds.values()] == [4, 4, 4]


def test_the_collector_rests_inside_a_round_and_is_as_before_afterwards():
    seen: list[bool] = []
    interleaved({"a": lambda: seen.append(gc.isenabled())}, rounds=2, warmup=0)
    assert seen == [False, False]
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        interleaved({"a": lambda: 1 / 0})
    assert gc.isenabled()


def test_a_short_way_is_called_several_times_and_reported_as_one(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])

    def tick(seconds: float) -> None:
        calls.append(seconds)
        now[0] += seconds

    calls: list[float] = []
    ways = {"short": lambda: tick(0.25), "long": lambda: tick(8.0)}
    timings = interleaved(ways, rounds=2, warmup=0, least=1.0)
    assert timings.seconds == {"short": [0.25, 0.25], "long": [8.0, 8.0]}
    assert (calls.count(0.25), calls.count(8.0)) == (4 + 2 * 4, 4 + 2 * 1)


def test_a_ratio_is_the_median_of_the_rounds_own_ratios():
    timings = Timings({"base": [2.0, 100.0, 6.0], "way": [1.0, 25.0, 2.0]})
    assert timings.times("way", "base") == 3.0  # of 2, 4, 3; the medians would give 6 / 2
    assert Timings({"base": [1.0, 10.0, 30.0], "way": [1.0, 2.0, 60.0]}).times("way", "base") == 1.0


def test_median_and_quartiles():
    timings = Timings({"a": [5.0, 1.0, 4.0, 2.0, 3.0]})
    assert timings.median("a") == 3.0
    assert timings.quartiles("a") == (2.0, 4.0)
    assert timings.as_dict("a") == {
        "a": {"median_s": 3.0, "quartiles_s": [2.0, 4.0], "times_a": 1.0}
    }


@pytest.mark.parametrize("wrong", [dict(ways={}), dict(rounds=0), dict(warmup=-1)])
def test_nothing_to_time_is_an_error(wrong):
    with pytest.raises(ValueError, match="give at least one way, one round and no negative warmup"):
        interleaved(**{"ways": {"a": int}, **wrong})
