"""The page as a widget: the program of the frame with a model of its own, and the class."""

import base64
import importlib.util
import sys
from importlib.resources import files

import pytest

import trilby
from trilby.errors import CallError
from trilby.explorer.page import page

PROGRAM = files("trilby.explorer").joinpath("widget.js").read_bytes()
MODEL = """async ([program, given]) => {
  const { default: widget } = await import(`data:text/javascript;base64,${program}`);
  const calls = {};
  window.model = {
    values: given, saved: 0,
    get(name) { return this.values[name]; },
    set(name, value) { this.values[name] = value; },
    save_changes() { this.saved += 1; },
    on(event, call) { calls[event] = call; },
    off(event) { delete calls[event]; },
  };
  window.choose = (name, value) => { model.set(name, value); calls[`change:${name}`](); };
  window.close_ = widget.render({ model, el: document.body });
  window.listening = () => Object.keys(calls).length;
}"""


@pytest.fixture
def tab(browser):
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    found = context.new_page()
    found.set_default_timeout(20_000)
    yield found
    context.close()


@pytest.fixture
def shown():
    return trilby.explore(["mean", "ema:0.9"], tokens="abcdefgh")


def opened(tab, explored, **chosen):
    """The frame of a widget whose model holds these."""
    given = dict(page=page(explored), height=700, row=7, column=0, shown="mean") | chosen
    tab.evaluate(MODEL, [base64.b64encode(PROGRAM).decode(), given])
    frame = tab.frame_locator("iframe")
    frame.locator("html[data-ready]").wait_for(state="attached")
    return frame


def reads(frame, text):
    """Wait until the page says so of the chosen row."""
    frame.locator(".view:not([hidden]) h2", has_text=text).first.wait_for()


def test_python_chooses_in_the_page(tab, shown):
    frame = opened(tab, shown, row=3, column=1, shown="ema:0.9")
    reads(frame, "ema:0.9: position 3")
    tab.evaluate("choose('row', 5)")
    reads(frame, "ema:0.9: position 5")
    tab.evaluate("choose('shown', 'mean')")
    reads(frame, "mean: position 5")


def test_the_page_tells_what_is_chosen(tab, shown):
    frame = opened(tab, shown)
    reads(frame, "mean: position 7")
    frame.locator(".square .marks").first.focus()
    tab.keyboard.press("ArrowUp")
    tab.keyboard.press("Enter")
    tab.wait_for_function("() => model.values.row === 6 && model.saved > 0")
    frame.locator("button", has_text="ema:0.9").last.click()
    tab.wait_for_function("() => model.values.shown === 'ema:0.9'")


def test_messages_of_others_are_not_heard(tab, shown):
    frame = opened(tab, shown)
    reads(frame, "mean: position 7")
    tab.wait_for_function("() => model.saved === 1")  # the page says what it was told to choose
    message = "postMessage({ trilby: { row: 2, column: 0, shown: 'mean' } }, '*')"
    tab.evaluate(message)  # to the program around the page, from itself
    frame.locator("body").evaluate(f"() => {message}")  # to the page, from itself
    tab.wait_for_timeout(200)
    assert tab.evaluate("[model.values.row, model.saved]") == [7, 1]
    reads(frame, "mean: position 7")


def test_a_closed_widget_listens_no_more(tab, shown):
    opened(tab, shown)
    assert tab.evaluate("listening()") == 3
    assert tab.evaluate("() => { close_(); return listening(); }") == 0


def test_without_anywidget_it_says_what_to_install(shown, monkeypatch):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    trilby.explorer.widget._kind.cache_clear()
    with pytest.raises(CallError, match=r"widget\(\) needs anywidget .*'trilby\[widget\]'"):
        shown.widget()


@pytest.mark.skipif(importlib.util.find_spec("anywidget") is None, reason="no anywidget here")
def test_a_widget_holds_what_is_chosen(shown):
    found = shown.at(5).widget()
    assert (found.row, found.column, found.shown) == (5, 0, "mean")
    assert "<!doctype html>" in found.page
