"""The tables of `benchmarks/`: what they write, and what they refuse."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.house.tree import ROOT

FOLDER = ROOT / "benchmarks"


@pytest.fixture
def table(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in ("table", "inputs", "growth", "run"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import table

    return table


def run(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(FOLDER / "run.py"), "--quick", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_run_writes_json_and_markdown_and_keeps_the_other_tables(tmp_path):
    old = {"schema": "trilby.benchmarks/1", "tables": {"copy": json.loads(COPY)}}
    (tmp_path / "mean-2020-01-01.json").write_text(json.dumps(old))
    done = run("--only", "step", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    new = next(p for p in tmp_path.glob("mean-*.json") if "2020" not in p.name)
    told = json.loads(new.read_text("utf-8"))
    assert told["schema"] == "trilby.benchmarks/1"
    assert list(told["tables"]) == ["copy", "step"]
    step = told["tables"]["step"]
    assert step["quick"] is True
    assert step["machine"]["versions"]["torch"]
    assert "cache" not in step["machine"]
    assert all(row["median us"] > 0 for row in step["rows"])
    assert any("the same function" in sentence for sentence in step["verdicts"])
    page = (tmp_path / "mean.md").read_text("utf-8")
    assert "## One step" in page
    assert "| speed of the copy | at least 0.8 | 0.5 | MISSED |" in page
    assert done.stdout.strip().splitlines()[0] == "## One step"


def test_a_table_that_is_not_there_is_named():
    done = run("--only", "speed")
    assert done.returncode == 2
    assert "invalid choice: 'speed'" in done.stderr


def test_a_red_verdict_ends_the_table(table, monkeypatch):
    import dataclasses

    import trilby

    def wrong(x, state=None):
        return x.clone(), trilby.mean.scan(x, state)[1]

    broken = dataclasses.replace(trilby.mean, forms={**trilby.mean.forms, "fused": wrong})
    monkeypatch.setattr(trilby, "mean", broken)
    with pytest.raises(SystemExit, match=r"refused to time mean\.fused: against the loop at"):
        table.judged(torch.randn(2, 4, 2))


def test_targets_say_what_was_missed(table):
    assert table.at_least("a", 2, 2.0).met
    assert not table.at_least("a", 2, 1.9).met
    assert table.at_most("a", 2, 2.0).met
    assert not table.at_most("a", 2, 2.1).met


def test_the_slope_of_a_power_is_its_exponent(table):
    import growth

    assert growth.slope([10, 100, 1000], [3.0, 30.0, 300.0]) == pytest.approx(1.0)
    assert growth.slope([10, 100, 1000], [1.0, 100.0, 1e4]) == pytest.approx(2.0)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_memory_that_a_stream_holds_on_to_shows(table):
    import growth

    ballast = bytearray(b"x") * (1 << 29)  # more than the stream has; it must not hide anything
    held = growth.STREAM.replace("None, []", "None, []; held = []").replace(
        "    if block in", "    held.append(y)\n    if block in"
    )
    early, late, count = growth.streamed(held, 2, 34)
    assert late - early > 60  # 32 blocks of 2 MiB
    assert count == 34 * 65536
    assert early < 512
    del ballast


def test_a_peer_may_round_and_may_not_be_wrong(table):
    for module in ("bottleneck", "numbagg", "polars", "pandas"):
        pytest.importorskip(module, reason=f"{module} comes with `make bench`: peers are large")
    import peers

    import trilby

    x = torch.randn(2, 64, 3, generator=torch.Generator().manual_seed(0))
    ours = trilby.mean(x)[0]
    late = peers.Peer("late", "", lambda: ours.roll(1, 1), lambda found: found)
    with pytest.raises(SystemExit, match="refused to time late: its answer is"):
        peers.error(late, ours, x)
    nothing = peers.Peer("nothing", "", lambda: ours * torch.nan, lambda found: found)
    with pytest.raises(SystemExit, match="refused to time nothing"):
        peers.error(nothing, ours, x)
    ways = [*peers.of_numpy(x), *peers.of_windows(x), *peers.of_triangles(x)]
    assert all(peers.error(peer, ours, x) < 1e-6 for peer in ways)


COPY = """{"title": "A copy", "setup": "-", "rows": [{"way": "trilby.mean(x)", "median ms": 1.0}],
 "targets": [{"what": "speed of the copy", "wanted": "at least 0.8", "got": 0.5, "met": false}],
 "verdicts": [], "quick": false, "taken": "2020-01-01T00:00+00:00", "load": [0.0, 0.0],
 "machine": {"versions": {"torch": "1"}, "cpu": "-", "processors": 1, "threads": 1, "os": "-",
 "python": "3"}}"""
