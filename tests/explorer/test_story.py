"""The story says what its triangles show; the gallery's squares have the names of their faults."""

import pytest
import torch

import trilby
from trilby.cli import main
from trilby.errors import CallError
from trilby.explorer.exhibits import UNSEEN, fingerprints
from trilby.explorer.patterns import GROUPS
from trilby.explorer.story import SUNSPOTS


@pytest.fixture(scope="module")
def shown():
    return trilby.explore(story=True)


def test_the_story_says_what_the_triangles_show(shown):
    weights = {one.name: one.weights for one in shown.triangles}
    held = {one.name: {part.name: part for part in one.holds} for one in shown.subjects}
    assert shown.ok
    for row in (0, 40, 63):
        assert weights["mean"][row, : row + 1].unique().tolist() == pytest.approx([1 / (row + 1)])
    assert set(held["mean"]) == {"total", "count"}
    ratio = weights["weighted"][40, :41] / weights["weighted"][63, :41]
    assert float(ratio.max() - ratio.min()) < 1e-12  # the same scores in every row
    fading = weights[SUNSPOTS][40, 1:41]
    assert (fading[:-1] / fading[1:]).tolist() == pytest.approx([0.9] * 39)
    tokens = shown.where.tokens
    attention = weights["attention"]
    for s in range(40):
        twin = tokens.index(tokens[s])
        assert float(attention[40, s]) == pytest.approx(float(attention[40, twin]))
    order = [row[:30].argmax().item() for row in attention[30:]]
    assert len({*order}) > 5  # each row picks its own
    assert held["attention"]["keys"].grows
    assert not any(part.grows for part in held["linear"].values())
    assert float(weights["linear"][40].max()) < float(attention[40].max())
    assert shown.triangles[-1].residual < 1e-12


def test_every_step_names_a_triangle_and_a_cell_of_the_past(shown):
    names = [one.name for one in shown.triangles]
    assert {step.shows for step in shown.steps} == {*names}
    for step in shown.steps:
        assert 0 <= step.column <= step.row < len(shown.where.tokens)
        assert len(step.text) < 240


def test_the_years_of_the_series_are_named_in_the_terminal(shown):
    assert f"{SUNSPOTS}: 40 '1740' reads 40 '1740' 0.1, 39 '1739' 0.09" in shown.said(100)
    assert "mean: 40 'e' reads" in shown.said(100)


def test_the_squares_have_the_names_of_their_faults():
    found = {one.name: one for one in fingerprints()}
    for name, group in {
        "triangle_one_too_wide": "one ahead",
        "trims_the_wrong_end": "a few ahead",
        "chunk_reads_its_own_state": "inside a block",
        "spectral_filter_wraps": "wrap-around",
        "norm_over_time": "statistic over time",
        "expert_choice": "later positions",
        "dynamic_scaling": UNSEEN,
    }.items():
        assert found[name].group == group
    assert found["backward_runs_the_wrong_way"].gradient
    assert {one.group for one in found.values()} <= {*GROUPS, UNSEEN}
    assert not found["spectral_filter_wraps"].square[8:, 9:].triu(1).any()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (trilby.explore, "there is nothing to show; give a mixer or a module"),
        (lambda: trilby.explore("mean", story=True), "story=True chooses what is shown"),
        (lambda: trilby.explore(T=8, story=True), "story=True chooses what is shown"),
        (lambda: trilby.explore(bench=True, story=True), "story=True chooses what is shown"),
        (lambda: trilby.explore([torch.nn.Linear(1, 1)], T=4, bench=True), "none is given"),
    ],
)
def test_what_does_not_fit_is_said_in_a_line(call, said):
    with pytest.raises(CallError, match="explore: ") as error:
        call()
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_row_that_reads_its_neighbours_is_found():
    def centred(x):
        return x - x.mean(0, keepdim=True)

    shown = trilby.explore([centred], torch.randn(1, 6, 2))
    assert not shown.ok
    [leak] = shown.subjects[0].leaks
    assert (leak.group, leak.reads) == ("neighbour", None)
    assert shown.answer[0].text == "centred leaks: y[0] reads another row of the batch"
    assert leak.size > 0
    assert "x[1:]" in leak.reproducer


def test_the_command_writes_the_story(tmp_path, capsys):
    assert main(["explore", "--story", "-o", str(tmp_path / "story.html")]) == 0
    assert '"steps": [{"title"' in (tmp_path / "story.html").read_text(encoding="utf-8")
    capsys.readouterr()
    assert main(["explore", "mean", "-T", "4", "--gallery"]) == 2  # a terminal has no place for it
    assert "--gallery needs a page; add -o page.html" in capsys.readouterr().err
    for wrong in (["explore"], ["explore", "mean", "--story"]):
        assert main(wrong) == 2
        assert "give a SUBJECT, or --story and none" in capsys.readouterr().err


def test_the_command_times_when_it_is_asked(tmp_path, monkeypatch, capsys):
    import trilby.bench.lengths as lengths

    monkeypatch.setattr(lengths.growth, "__kwdefaults__", {
        "sizes": (4, 8), "rounds": 2, "patience": 1.0,
    })  # fmt: skip
    path = tmp_path / "page.html"
    assert main(["explore", "attention:window=2", "-T", "8", "--bench", "-o", str(path)]) == 0
    assert "fastest: attention:window=2 " in capsys.readouterr().err
    assert '"shape": "q [1, T, 16, 16] float32"' in path.read_text(encoding="utf-8")
