"""The learner's path: every page of the tutorial is followed, and each one leads to the next."""

import re
from pathlib import Path

import pytest

from tests.pages.following import blocks, followed

DOCS = Path(__file__).parents[2] / "docs"
INDEX = (DOCS / "index.md").read_text(encoding="utf-8")
PAGES = re.findall(r"^tutorial/(\w+)$", INDEX, re.M)
QUESTIONS = {  # what learners ask, and the page on which it comes up
    "mean": ["why-is-allclose-false", "why-is-zero-times-nan-a-leak"],
    "attention": ["which-way-does-a-mask-point"],
    "heads": ["what-does-multi-head-change"],
    "state": ["what-is-a-state"],
    "linear": ["why-read-before-the-future", "why-is-a-scan-slower"],
}


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_a_page_prints_what_it_says(page):
    path = DOCS / "tutorial" / f"{page}.md"
    code = [language for language, _ in blocks(path)]
    assert followed(path) == code.count("text") > 2


def test_a_page_that_says_something_else_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n")
    with pytest.raises(AssertionError, match=r"page\.md prints\n2"):
        followed(page)


def test_the_index_opens_on_it_and_it_is_whole():
    assert len(PAGES) == 7
    assert "seven short pages" in INDEX
    assert sorted(PAGES) == sorted(path.stem for path in (DOCS / "tutorial").glob("*.md"))
    assert INDEX.index("(tutorial/mean.md)") < INDEX.index("{toctree}") < INDEX.index("\nwords\n")
    captions = re.findall(r"^:caption: (.+)$", INDEX, re.M)
    assert captions == ["Tutorial", "How-to", "Reference", "Explanation"]


def test_each_page_leads_to_the_next_and_ends_with_something_to_try():
    for number, page in enumerate(PAGES, 1):
        text = (DOCS / "tutorial" / f"{page}.md").read_text(encoding="utf-8")
        assert text.startswith(f"# {number}. ")
        end = text[text.index("\n## Try\n") :]
        assert end.count("\n- ") >= 2
        if number < len(PAGES):
            assert f"]({PAGES[number]}.md)" in end.splitlines()[-1]


def test_the_questions_are_answered_where_they_come_up():
    for page, anchors in QUESTIONS.items():
        text = (DOCS / "tutorial" / f"{page}.md").read_text(encoding="utf-8")
        asked = re.findall(r"^\(([\w-]+)\)=\n## .+\?$", text, re.M)
        assert asked == anchors
