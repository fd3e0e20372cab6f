"""The picker of a model in the browser: which layer, which head or channel."""

import pytest

import trilby
from tests.browser import missing
from tests.explorer.conftest import PAGE
from tests.explorer.models import SEEN, built, ids

pytestmark = SEEN


@pytest.fixture(scope="module")
def hybrid():
    return trilby.explore(built("qwen3_next"), ids())


@pytest.fixture(scope="module")
def channels():
    return trilby.explore(built("mamba"), ids())


def selected(found, name):
    return found.page.locator(f"#pick-{name} option:checked").inner_text()


def test_layer_and_head_are_chosen_by_the_keyboard(opened, hybrid):
    found = opened(hybrid, "row=20&column=3")
    keys = found.page.keyboard
    assert (selected(found, "layer"), selected(found, "head")) == ("0 delta", "0")
    found.page.get_by_label("layer", exact=True).focus()
    keys.press("ArrowDown")
    assert "layer 1 attention, head 0: position 20" in found.text("#row-title")
    found.page.get_by_label("head", exact=True).focus()
    keys.press("ArrowDown")
    keys.press("ArrowDown")
    assert "layer 1 attention, head 2: position 20" in found.text("#row-title")
    assert "show=10" in found.page.evaluate("location.hash")
    status = found.page.get_by_role("status")
    assert status.inner_text() == (
        "layer 1 attention, head 2. This page holds 4 of the 4 heads of this layer."
    )
    one = hybrid.triangles[10]
    assert float(found.fact("cell")) == pytest.approx(float(one.weights[20, 3]), rel=1e-5)
    found.page.get_by_label("layer", exact=True).focus()
    keys.press("ArrowUp")
    assert "layer 0 delta, head 2" in found.text("#row-title")  # the head stays
    assert found.complaints == []


def test_the_address_and_the_pictures_choose_too(opened, hybrid):
    found = opened(hybrid, "show=11")
    assert (selected(found, "layer"), selected(found, "head")) == ("1 attention", "3")
    heads = found.page.get_by_role("group", name="heads of layer 1 attention")
    assert heads.get_by_role("button").count() == 4
    assert heads.locator("[aria-pressed=true]").inner_text() == "head 3"
    found.page.get_by_role("group", name="layers").get_by_text("0 delta").click()
    assert selected(found, "layer") == "0 delta"
    assert found.page.get_by_role("group", name="heads of layer 0 delta").count() == 1
    found.go("show=8")
    assert (selected(found, "layer"), selected(found, "head")) == ("1 attention", "0")


def test_channels_are_called_channels(opened, channels):
    found = opened(channels, "show=9")
    assert found.page.get_by_label("channel", exact=True).count() == 1
    assert "8 of the 64 channels of this layer" in found.page.get_by_role("status").inner_text()
    assert "16 of 128 channels in 2 of 2 layers are shown" in found.text(".answer")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible_and_fits_a_narrow_screen(opened, hybrid, scheme):
    axe = PAGE / "node_modules" / "axe-core" / "axe.min.js"
    if not axe.is_file():
        missing("axe-core is not installed; make page")
    found = opened(
        hybrid, color_scheme=scheme, bypass_csp=True, viewport={"width": 360, "height": 740}
    )
    found.page.add_script_tag(content=axe.read_text(encoding="utf-8"))
    result = found.page.evaluate("axe.run()")
    wrong = [(r["id"], [n["html"][:90] for n in r["nodes"]]) for r in result["violations"]]
    assert wrong == []
    assert found.page.evaluate("document.documentElement.scrollWidth") <= 360
