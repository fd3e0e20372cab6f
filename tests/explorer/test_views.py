"""The five views of one page in a real browser, in every medium: story, leaks, forms, bench."""

import csv
import math
from dataclasses import replace

import pytest
import torch

import trilby
from tests.browser import missing
from tests.explorer.conftest import PAGE
from trilby.bench import Growth, Timings, growth
from trilby.explorer.measuring import measured
from trilby.explorer.naming import named

VIEWS = ("matrix", "leaks", "forms", "bench", "story")
SIZES = (4, 8, 16, 32)
LIGHT_BLUE, LEAK, PAPER = (9, 71, 165), (192, 0, 168), (255, 255, 255)


def shifted(x):
    """Reads one position of the future, and the mean of the batch."""
    return x + x.roll(-1, 1) * (torch.arange(x.shape[1])[:, None] < x.shape[1] - 1) - x.mean(0)


@pytest.fixture(scope="module")
def everything():
    """A page that has all five views: the story, the gallery, a leak, and times."""
    shown = trilby.explore(story=True, gallery=True)
    mean, *others = shown.subjects
    times = growth(trilby.mean, lambda T: trilby.mean.draw(B=1, T=T, C=2), sizes=SIZES, rounds=3)
    leak = measured(named(shifted), shown.where)
    return replace(shown, subjects=(replace(mean, growth=times), *others, leak))


@pytest.fixture(scope="module")
def page(kept, everything):
    """That page, opened once; every test says by the address what it looks at."""
    return kept(everything, color_scheme="light", bypass_csp=True)


@pytest.fixture(autouse=True)
def usual(page):
    """The usual medium and size again after each test."""
    yield
    page.page.emulate_media(
        media="screen", color_scheme="light", forced_colors="none", reduced_motion="no-preference"
    )
    page.page.set_viewport_size({"width": 1200, "height": 900})
    assert page.complaints == []
    assert [url for url in page.requests if not url.startswith(("file:", "blob:"))] == []


def pressed(page, *keys):
    for key in keys:
        page.page.keyboard.press(key)


def number(text: str) -> float:
    return float(text.replace("−", "-"))


def saved(page, selector: str) -> list[list[str]]:
    with page.page.expect_download() as download:
        page.page.locator(selector).click()
    with open(download.value.path(), encoding="utf-8") as file:
        return list(csv.reader(file))


def test_the_story_is_walked_by_the_space_bar_alone(page, everything):
    page.go("view=story")
    page.page.evaluate("document.activeElement.blur()")
    for n, step in enumerate(everything.steps):
        pressed(page, "Space")
        assert page.text(".story h2") == f"{n + 1} of {len(everything.steps)}: {step.title}"
        assert page.page.locator(f"#view-{step.view}").is_visible()
        chosen = page.page.locator(".multiples button[aria-pressed=true]").first
        assert chosen.inner_text() == step.shows
        hash = page.page.evaluate("location.hash")
        for said in (f"row={step.row}", f"column={step.column}", f"step={n}", "locked=1"):
            assert said in hash
    pressed(page, "Space")  # the last step stays
    assert page.text(".story h2").startswith("12 of 12")
    pressed(page, "Shift+Space")
    assert page.text(".story h2").startswith("11 of 12")


def test_a_reader_leaves_the_path_anywhere_and_comes_back(page, everything):
    page.go("view=matrix&show=2&row=40&column=36&locked=1&own=1&step=4")
    again = page.page.get_by_role("button", name="back to the path")
    assert not again.is_visible()
    assert "1740" in page.text("#row-title")
    page.page.locator("#tab-matrix").focus()
    pressed(page, "ArrowRight", "ArrowRight")
    assert page.page.locator("#view-forms").is_visible()
    assert page.text(".story h2").startswith("5 of 12")
    again.click()
    assert page.page.locator("#view-matrix").is_visible()
    page.page.locator(".marks").first.focus()
    pressed(page, "ArrowUp", "Space")  # from the triangle the space bar goes on
    assert page.text(".story h2").startswith("6 of 12")
    page.page.get_by_role("button", name="leave").click()
    assert not page.page.locator(".story").is_visible()
    page.page.get_by_role("button", name=everything.steps[2].title).click()
    assert page.page.locator("#view-forms").is_visible()


def test_a_page_with_a_story_opens_on_its_first_step(kept, everything):
    found = kept(everything)
    assert found.text(".story h2").startswith("1 of 12")
    assert not found.page.get_by_role("button", name="back to the path").is_visible()
    pressed(found, "Space")
    assert found.page.locator("#view-leaks").is_visible()


def test_a_series_is_drawn_with_the_output(page):
    page.go("view=matrix&show=2&row=40")
    label = page.page.locator("canvas.strip[role=img]").get_attribute("aria-label")
    values = trilby.data.sunspots()[1][0, :64, 0]
    assert f"from {float(values.min()):.4g}" in label.replace(".000", "")
    page.go("view=matrix&show=0&row=40")
    assert not page.page.locator("canvas.strip[role=img]").is_visible()


def test_times_and_memory_are_those_that_were_measured(page, everything):
    page.go("view=bench&show=0")
    found = everything.subjects[0].growth
    rows = [row.split("\t") for row in page.page.locator(".bench tbody tr").all_inner_texts()]
    assert [row[0] for row in rows] == list(trilby.mean.forms)
    units = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
    for name, *cells in rows:
        for T, cell in zip(SIZES, cells, strict=False):
            value, unit = cell.split()
            wanted = found.timings[T].median(name)
            assert number(value) * units[unit] == pytest.approx(wanted, rel=5.1e-3)
        assert number(cells[4].removeprefix("T^")) == pytest.approx(found.slope(name), abs=0.06)
        amount = cells[5].split()
        assert amount[2:] == ["at", "32"]
        size = number(amount[0]) * {"B": 1, "kB": 1e3, "MB": 1e6}[amount[1]]
        assert size == pytest.approx(found.memory[32][name], rel=5.1e-3)
    assert page.page.locator(".said li").all_inner_texts() == found.crossings()
    assert found.where in page.text(".bench .fact")
    assert f"fastest: mean {found.fastest(32)[0]}" in page.text(".answer")
    head, *lines = saved(page, "[title^='save every run']")
    assert head == ["form", "T", "run", "seconds"]
    for name, T, i, seconds in lines:
        assert float(seconds) == found.timings[int(T)].seconds[name][int(i)]
    assert len(lines) == len(trilby.mean.forms) * len(SIZES) * 3


def test_a_form_that_does_not_agree_has_no_time_and_it_is_said(kept, everything):
    mean = everything.subjects[0]
    wrong = trilby.same(lambda x: x, lambda x: 1.01 * x, torch.ones(1, 4, 1))
    times = {64: Timings({"loop": [2.0, 2.0, 2.0], "fused": [1.0, 3.0, 1.0]})}
    memory = {64: {"loop": 8, "fused": None}}
    found = Growth(
        "mean", "x", times, memory, {"scan": [wrong]}, {"scan": "not timed, as it differs"},
        mean.growth.machine,
    )  # fmt: skip
    page = kept(
        replace(everything, subjects=(replace(mean, growth=found),), steps=()), "view=bench"
    )
    first = page.page.locator(".answer button").first
    assert first.inner_text() == "✗ mean.scan does not agree, so it is not timed"
    assert "mean fused or loop (inconclusive) at T = 64" in page.text(".answer")
    assert page.text(".broken:not(button)") == "✗ scan: not timed, as it differs"
    rows = [row.split("\t") for row in page.page.locator(".bench tbody tr").all_inner_texts()]
    assert rows[2] == ["scan", "", "", "", "not timed, as it differs"]
    assert page.page.locator(".said li").all_inner_texts() == [
        "T = 64: inconclusive between fused and loop."
    ]
    # The axis goes from 1 s to 10^0.5 s; the mark of the loop stands at 2 s.
    y = 320 - 34 - (320 - 22 - 34) * math.log10(2) / 0.5
    pixel = page.page.evaluate(
        """y => [...document.querySelector('.charts canvas').getContext('2d')
          .getImageData(58, y, 1, 1).data].slice(0, 3)""",
        round(y),
    )
    assert pixel == [27, 28, 32]


def test_findings_stand_under_plain_names(page, everything):
    page.go(f"view=leaks&show={len(everything.triangles) - 1}")
    groups = page.page.locator(".findings section").all()
    assert [group.get_attribute("aria-label") for group in groups] == ["one ahead", "neighbour"]
    assert "the output at 0 ‘F’ reads the input at 1 ‘r’" in groups[0].inner_text()
    assert "other rows" in groups[1].inner_text() or "neighbour" in groups[1].inner_text()
    assert "torch.randn_like(x[1:])" in groups[1].inner_text()
    lines = saved(page, "[title='save every cell of the future']")
    assert len(lines) - 1 == everything.triangles[-1].ahead == 63


def test_the_gallery_shows_what_was_measured(page, everything):
    page.go("view=leaks&show=0")
    buttons = page.page.locator(".gallery .multiples button")
    assert buttons.count() == len(everything.gallery)
    assert page.page.locator(".gallery .multiples button[aria-pressed=true]").count() == 1
    for name in ("norm_over_time", "spectral_filter_wraps", "hidden_by_a_zero_gate"):
        page.page.get_by_role("button", name=name.replace("_", " "), exact=True).click()
        assert f"exhibit={name}" in page.page.evaluate("location.hash")
        one = next(each for each in everything.gallery if each.name == name)
        said = page.text(".exhibit")
        assert one.story in said
        assert all(address in said for address in one.source)
        cells = one.square.triu(1).nonzero()
        if not len(cells):
            assert f"The verifier calls it {one.cause}" in said
            continue
        t, s = cells[0].tolist()
        assert f"{len(cells)} cells above the diagonal" in said
        assert f"the first: {t} reads {s}, " in said
        shown = number(said.partition(f"{t} reads {s}, ")[2].partition(". ")[0])
        assert shown == pytest.approx(float(one.square[t, s]), rel=5.1e-3)
        for t, s in ((0, 15), (2, 3), (15, 0)):
            colour = page.page.evaluate(
                """([t, s]) => [...document.querySelector('.exhibit canvas').getContext('2d')
                  .getImageData(15 * s + 2, 15 * t + 2, 1, 1).data].slice(0, 3)""",
                [t, s],
            )
            ahead = s > t and bool(one.square[t, s])
            assert (tuple(colour) == LEAK) == ahead, (name, t, s)
    assert page.page.locator("a").count() == 0


def test_where_two_forms_differ(page, everything):
    page.go("view=forms&show=6&row=5&pair=matrix,scan")
    forms = {form.name: form.narrow for form in everything.subjects[6].forms}
    far = (forms["matrix"] - forms["scan"]).abs() / forms["matrix"].abs().max()
    said = page.text(".apart .fact")
    assert f"{int((far == 0).sum())} of {far.numel()} numbers are equal" in said
    most = int(far.argmax())
    assert f"They differ most at {most} ‘" in said
    shown = number(said.partition(", by ")[2].partition(" of ")[0])
    assert shown == pytest.approx(float(far[most]), rel=5.1e-3)
    for t in (int((far == 0).nonzero()[0, 0]), most):
        colour = page.page.evaluate(
            """t => [...document.querySelector('.apart canvas').getContext('2d')
              .getImageData(10 * t + 2, 9, 1, 1).data].slice(0, 3)""",
            t,
        )
        assert (colour == [217, 218, 224]) == (float(far[t]) == 0)
    page.page.get_by_label("another form").select_option("matrix")
    assert page.text(".apart .fact").startswith("All 64 numbers are equal, bit for bit.")
    assert "pair=matrix%2Cmatrix" in page.page.evaluate("location.hash")
    head, *lines = saved(page, ".apart [title='save the numbers of both']")
    assert head == ["position", "channel", "matrix", "matrix"]
    assert [float(line[2]) for line in lines] == forms["matrix"][:, 0].tolist()


def test_reduced_motion_moves_by_hand(page):
    page.page.emulate_media(reduced_motion="reduce")
    page.go("view=matrix&show=0&row=3")
    page.go("view=forms&show=1&row=3")  # another mixer, so that the button is made again
    button = page.page.get_by_role("button", name="next", exact=True)
    button.click()
    page.page.wait_for_timeout(400)
    assert "what it holds after 4 " in page.text("[aria-label=state] h3")


def test_print_has_light_colours_and_no_tools(page):
    page.page.emulate_media(color_scheme="dark")
    page.go("view=matrix&show=0&row=40&own=1&step=0&scale=linear")
    assert page.pixel(0, 0, 64) == (122, 184, 255)
    page.page.emulate_media(media="print", color_scheme="dark")
    page.page.wait_for_function(  # a small multiple is drawn again by the change of medium alone
        """colour => [...document.querySelector('.multiples canvas').getContext('2d')
          .getImageData(0, 0, 1, 1).data].slice(0, 3).join() === colour""",
        arg=",".join(map(str, LIGHT_BLUE)),
        timeout=5000,
    )
    paper = page.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == "rgb(255, 255, 255)"
    assert page.pixel(0, 0, 64) == LIGHT_BLUE
    assert not page.page.locator(".tabs").is_visible()
    assert page.page.locator(".marks:visible").count() == 0  # in a PDF they would hide the cells
    assert page.page.locator(".tools:visible").count() == 0
    assert page.page.locator(".story p").is_visible()
    assert "position 40" in page.text("#row-title")
    assert page.page.locator(".answer").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(page, everything, scheme):
    axe = PAGE / "node_modules" / "axe-core" / "axe.min.js"
    if not axe.is_file():
        missing("axe-core is not installed; make page")
    page.page.emulate_media(color_scheme=scheme)
    page.page.evaluate(axe.read_text(encoding="utf-8"))
    last = len(everything.triangles) - 1
    for view in VIEWS:
        page.go(f"view={view}&show={last if view in ('matrix', 'leaks') else 0}&step=3")
        result = page.page.evaluate("axe.run()")
        wrong = [(r["id"], [n["html"][:90] for n in r["nodes"]]) for r in result["violations"]]
        assert wrong == [], view


@pytest.mark.parametrize("how", [
    {"forced_colors": "active"}, {"reduced_motion": "reduce"}, {"color_scheme": "dark"},
])  # fmt: skip
def test_it_fits_a_narrow_screen_in_every_medium(page, everything, how):
    page.page.emulate_media(**how)
    page.page.set_viewport_size({"width": 360, "height": 740})
    last = len(everything.triangles) - 1
    for view in VIEWS:
        page.go(f"view={view}&show={0 if view == 'bench' else last}&step=3")
        assert page.page.evaluate("document.documentElement.scrollWidth") <= 360, view
    page.go(f"view=leaks&show={last}")
    assert page.pixel(3, 4, 64) != page.pixel(3, 6, 64)


def test_what_a_screen_reader_is_told(page, everything):
    page.go("view=bench&show=0&step=3")
    told = page.page.locator("body").aria_snapshot()
    for line in (
        '- heading "trilby" [level=1]',
        '- list "the answer":',
        '- tablist "views":',
        '- tab "Bench" [selected]',
        '- region "story":',
        '- button "continue (space)"',
        '- group "which triangle":',
        '- button "mean" [pressed]',
        '- tabpanel "Bench":',
        '- img "seconds of a call against T, as in the table"',
        '- region "medians of each form":',
        '- columnheader "T = 32"',
        '- rowheader "fused"',
    ):
        assert line in told, line
    page.go(f"view=leaks&show={len(everything.triangles) - 1}")
    told = page.page.locator("body").aria_snapshot()
    for line in ('- region "one ahead":', '- region "neighbour":', '- region "gallery":',
                 'application "the future: row reads column"'):  # fmt: skip
        assert line in told, line


@pytest.mark.parametrize("view", VIEWS[1:4])
def test_every_view_is_copied_as_python(page, everything, view):
    page.go(f"view={view}&show=0")
    inside = page.page.locator(f"#view-{view}")
    inside.get_by_role("button", name="copy as Python").first.click()
    copied = inside.get_by_label("copy as Python").first.input_value()
    assert copied == everything.python == "trilby.explore(story=True, gallery=True)"
