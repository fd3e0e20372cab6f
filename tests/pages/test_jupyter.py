"""The notebooks in JupyterLab, end to end; exported and opened offline; and not trusted.

`make test-notebook` runs this in an environment of its own, with Debian's chromium.
"""

import json
import os
import re
import secrets
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import pytest

pytestmark = [pytest.mark.notebook, pytest.mark.timeout(600)]
NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.py"))
EXPLORED = [path.stem for path in NOTEBOOKS if "trilby.explore(" in path.read_text("utf-8")]
FRAME = 'iframe[title="trilby.explore"]'
ERROR = '[data-mime-type="application/vnd.jupyter.error"]'
ENDED = f"""() => document.querySelector('{ERROR}') || [...document.querySelectorAll(
    '.jp-Notebook .jp-CodeCell .jp-InputPrompt')].every(each => /\\d/.test(each.textContent))"""
ANSWER = re.compile("no output reads a later position|leaks: y")
MINUTE = 60_000  # in milliseconds
SETTINGS = {  # every cell is drawn, also where it is not in view; JupyterLab asks for no news
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
WITHOUT_PROGRAMS = [  # what the template of nbconvert itself takes from elsewhere
    f"--HTMLExporter.{name}_url=" for name in ("require_js", "mathjax", "jquery", "mermaid_js")
]


def run(*command, env=None):
    subprocess.run(
        [sys.executable, "-m", *command], check=True, env=env, timeout=300, capture_output=True
    )


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """The notebooks as files of Jupyter, without outputs."""
    there = tmp_path_factory.mktemp("notebooks")
    for path in NOTEBOOKS:
        run("jupytext", "--to", "ipynb", "--output", str(there / f"{path.stem}.ipynb"), str(path))
    return there


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """Folders of Jupyter that hold nothing of the user's; all cells of a notebook are drawn."""
    home = tmp_path_factory.mktemp("jupyter")
    for name, setting in SETTINGS.items():
        file = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(setting), encoding="utf-8")
    named = {
        f"JUPYTER_{name}_DIR": str(home / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")
    }
    return (
        os.environ
        | named
        | {
            "IPYTHONDIR": str(home / "ipython"),
            "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        }
    )


@pytest.fixture(scope="session")
def executed(folder, environment):
    """Notebooks with their outputs; nothing has signed them, so they are not trusted."""
    there = folder / "executed"
    there.mkdir()
    for name in EXPLORED:
        path = str(folder / f"{name}.ipynb")
        how = ["--to", "notebook", "--execute", "--output-dir", str(there), path]
        run("jupyter", "nbconvert", *how, env=environment)
    return there


@pytest.fixture(scope="session")
def lab(folder, environment):
    """JupyterLab on a port of this machine: path of a notebook -> address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(8)
    command = [
        sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root",
        "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}",
        "--LabApp.extension_manager=readonly",
    ]  # fmt: skip
    log = (folder / "lab.log").open("w")
    server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    base = f"http://127.0.0.1:{port}"
    try:
        _wait(f"{base}/api/status?token={token}")
        yield lambda path: f"{base}/lab/tree/{path}?token={token}&reset"
    finally:
        server.terminate()
        server.wait(60)
        log.close()


def _wait(address):
    for _ in range(240):
        try:
            with urlopen(address, timeout=5) as answer:
                return json.load(answer)
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"{address} does not answer")


@pytest.fixture
def tab(browser):
    """A tab, and where it asked for anything."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(2 * MINUTE)
    page.asked = []
    page.on("request", lambda request: page.asked.append(request.url))
    yield page
    context.close()


def outside(tab):
    """Addresses of other machines."""
    here = re.compile(r"(file|data|blob|about):|https?://127\.0\.0\.1[:/]")
    return sorted({url for url in tab.asked if not here.match(url)})


@pytest.mark.parametrize("name", [path.stem for path in NOTEBOOKS])
def test_all_cells_run_in_jupyterlab(lab, tab, name):
    _run_all(lab, tab, name)
    prompts = tab.locator(".jp-Notebook .jp-CodeCell .jp-InputPrompt").all_inner_texts()
    assert all(re.fullmatch(r"\[\d+\]:", prompt.strip()) for prompt in prompts), prompts
    if name in EXPLORED:
        _touched(tab)
    assert outside(tab) == []


def _run_all(lab, tab, name):
    """Open a notebook and run all of its cells, of which none may fail."""
    tab.goto(lab(f"{name}.ipynb"))
    tab.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
    tab.get_by_text(re.compile(r"\| Idle$")).first.wait_for()  # the kernel, in the bar below
    tab.locator(".lm-MenuBar-itemLabel", has_text=re.compile("^Run$")).click()
    tab.locator(".lm-Menu-itemLabel", has_text=re.compile("^Run All Cells$")).click()
    tab.wait_for_function(ENDED, timeout=2 * MINUTE)
    assert tab.locator(ERROR).all_inner_texts() == []


def _touched(tab):
    """The page in the frame is drawn, a key chooses a row, and it reaches nothing outside."""
    assert tab.locator(FRAME).first.get_attribute("sandbox") == "allow-scripts allow-downloads"
    tab.locator(FRAME).first.evaluate("frame => frame.scrollIntoView()")
    frame = tab.frame_locator(FRAME).first
    frame.locator("html[data-ready]").wait_for(state="attached")
    app = frame.locator("#app")
    before = app.inner_text()
    assert ANSWER.search(before)
    assert frame.locator(".square canvas").first.evaluate("canvas => canvas.width") > 100
    frame.locator(".square .marks").first.focus()
    tab.keyboard.press("ArrowUp")
    assert app.inner_text() != before
    reach = "() => { try { return parent.document.title } catch (error) { return error.name } }"
    assert frame.locator("body").evaluate(reach) == "SecurityError"


WIDGET = """\
import trilby
shown = trilby.explore(["mean", "ema:0.9"], tokens="abcdefgh").widget()
shown.observe(lambda change: open("chosen.txt", "w").write(str(change["new"])), "row")
shown
# %%
shown.row = 3
"""


def test_a_widget_is_steered_from_both_sides(folder, lab, tab):
    (folder / "widget.py").write_text(f"# %%\n{WIDGET}", encoding="utf-8")
    run("jupytext", "--to", "ipynb", "--set-kernel", "python3", str(folder / "widget.py"))
    _run_all(lab, tab, "widget")
    heading = tab.frame_locator(FRAME).first.locator(".view:not([hidden]) h2")
    heading.filter(has_text="mean: position 3").first.wait_for()
    tab.frame_locator(FRAME).first.locator(".square .marks").first.focus()
    tab.keyboard.press("ArrowDown")
    chosen = folder / "chosen.txt"
    for _ in range(50):
        if chosen.read_text("utf-8") == "4":
            break
        time.sleep(0.2)
    assert chosen.read_text("utf-8") == "4"
    assert outside(tab) == []


@pytest.mark.parametrize("name", EXPLORED)
def test_an_exported_notebook_asks_for_nothing(executed, environment, tab, name):
    path = executed / f"{name}.ipynb"
    run("jupyter", "nbconvert", "--to", "html", *WITHOUT_PROGRAMS, str(path), env=environment)
    tab.context.set_offline(True)
    tab.goto(path.with_suffix(".html").as_uri())
    tab.frame_locator(FRAME).first.locator("html[data-ready]").wait_for(state="attached")
    assert outside(tab) == []


@pytest.mark.parametrize("name", EXPLORED)
def test_a_notebook_that_is_not_trusted_shows_the_picture_and_the_text(executed, lab, tab, name):
    tab.goto(lab(f"executed/{name}.ipynb"))
    summary = tab.locator("summary", has_text="picture and summary as text").last
    summary.wait_for()
    assert tab.locator(FRAME).count() == 0
    summary.click()
    details = tab.locator("details", has=summary).last
    image = details.locator("img").first
    assert image.evaluate("image => image.complete && image.naturalWidth") > 100
    assert ANSWER.search(details.locator("pre").inner_text())
    assert outside(tab) == []
