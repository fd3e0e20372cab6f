"""The built site: it loads nothing from elsewhere, and its pages fit."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

LOADS = {  # element -> the attributes from which a browser fetches
    "audio": ["src"], "embed": ["src"], "iframe": ["src", "srcdoc"], "image": ["href"],
    "img": ["src", "srcset"], "input": ["src"], "link": ["href"], "object": ["data"],
    "script": ["src"], "source": ["src", "srcset"], "track": ["src"], "use": ["href"],
    "video": ["src", "poster"],
}  # fmt: skip
OUTSIDE = re.compile(r"(?:https?:)?//[\w.-]+", re.I)
WITHIN = re.compile(r"data:[^\s\"'>]+")  # it holds what it shows, and may hold any letters
STYLE = re.compile(r"""(?:url\(|@import\s)\s*["']?\s*((?:https?:)?//[^"')\s]+)""", re.I)
PROGRAM = re.compile(
    r"""(?:(?<!@)\bimport|\bfrom|fetch\(|importScripts\(|\.src\s*=|\.open\(["']GET["'],)"""
    r"""\s*\(?\s*["'`]((?:https?:)?//[^"'`]+)""",
    re.I,
)
PAGES = (
    "index", "tutorial/mean", "tutorial/delta", "api", "mixers/attention", "laws/causal",
    "benchmarks", "audit", "coming", "words",
)  # fmt: skip


class Outside(HTMLParser):
    """The addresses from which a page would load something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.inside = tag
        values = {name.removeprefix("xlink:"): value or "" for name, value in attrs}
        if tag == "link" and values.get("rel") == "canonical":
            return
        for name in LOADS.get(tag, []):
            self.found += OUTSIDE.findall(WITHIN.sub("", values.get(name, "")))
        self.found += STYLE.findall(values.get("style", ""))

    def handle_data(self, data):
        if self.inside in ("style", "script"):
            self.found += STYLE.findall(data) + PROGRAM.findall(data)

    def handle_endtag(self, tag):
        self.inside = ""


def outside(path: Path) -> list[str]:
    """What a file of the site would load from elsewhere."""
    text = path.read_text(encoding="utf-8")
    if path.suffix in (".html", ".svg"):
        return Outside(text).found
    return STYLE.findall(text) + PROGRAM.findall(text)


def test_no_file_loads_anything_from_elsewhere(site):
    files = [p for p in site.rglob("*") if p.suffix in (".html", ".svg", ".css", ".js")]
    assert len(files) > 60
    found = {str(path.relative_to(site)): outside(path) for path in files}
    assert {name: addresses for name, addresses in found.items() if addresses} == {}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.html", '<script src="https://cdn.example.org/mathjax.js"></script>'),
        ("a.html", '<link rel="stylesheet" href="//fonts.example.org/css">'),
        ("a.html", '<p><img srcset="a.png 1x, https://example.org/b.png 2x">'),
        ("a.html", '<iframe srcdoc="<img src=//example.org/x>"></iframe>'),
        ("a.html", "<style>@font-face { src: url(https://example.org/f.woff2) }</style>"),
        ("a.html", '<div style="background: url(https://example.org/a.png)">'),
        ("a.html", '<script type="module">import "https://example.org/a.js"</script>'),
        ("a.svg", '<svg><image href="https://example.org/a.png"/></svg>'),
        ("a.css", '@import "https://example.org/a.css";'),
        ("a.js", 'fetch("https://example.org/data.json")'),
    ],
)
def test_what_would_be_loaded_is_found(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    assert len(outside(path)) == 1


def test_links_are_no_loads(tmp_path):
    path = tmp_path / "a.html"
    path.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg"></svg><a href="https://example.org">text</a>'
        '<link rel="canonical" href="https://example.org/a.html"><img src="a.png">'
    )
    assert outside(path) == []


def test_the_live_pages_are_sandboxed_and_whole(site):
    frames = [
        frame
        for page in site.rglob("*.html")
        if page.parent.name != "live"
        for frame in re.findall(r'<iframe class="live"[^>]+>', page.read_text(encoding="utf-8"))
    ]
    assert len(frames) == len([*site.glob("live/*.html")]) > 2
    for frame in frames:
        assert 'sandbox="allow-scripts"' in frame
        [name] = re.findall(r'src="\.\./(live/[\w-]+\.html)"', frame)
        assert "default-src 'none'" in (site / name).read_text(encoding="utf-8")


def test_objects_have_their_own_docstrings(site):
    text = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.html"))
    assert "Alias for field number" not in text
    assert "Built-in immutable sequence" not in text
    assert "Forms in the order in which mixers define them" in text


WIDE = """() => [
  innerWidth, document.scrollingElement.scrollWidth,
  [...document.querySelectorAll('pre')].filter(box => box.scrollWidth > box.clientWidth).length,
]"""


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 360])
def test_pages_fit_and_ask_for_files_only(browser, site, width):
    context = browser.new_context(viewport={"width": width, "height": 900})
    tab = context.new_page()
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    wide = {}
    for page in PAGES:
        tab.goto((site / f"{page}.html").as_uri())
        room, needed, boxes = tab.evaluate(WIDE)
        if needed > room or (boxes and width == 1280 and page.startswith("mixers")):
            wide[page] = needed, boxes  # a contract is read whole; on a phone its box scrolls
    context.close()
    assert wide == {}
    assert [url for url in asked if not url.startswith(("file:", "data:", "about:"))] == []
