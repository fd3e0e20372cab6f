"""The prose of the project uses plain words: pages, docstrings, messages and comments."""

import ast
import io
import re
import tokenize

import pytest

from tests.house.tree import ROOT, SOURCES


def _markdown(folder: str) -> list[str]:
    return sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*.md"))


INSTEAD = {  # pattern -> what a reader would search for
    r"\bcourts?\b": "the verifier, trilby.check",
    r"\brooms?\b": "mixer; of a disk or memory: space",
    r"\bdocket\b": "report",
    r"\banyone('s)?\b": "a module, any module",
    r"\bnobody\b": "say who or what does not",
    r"\bstrangers?('s)?\b": "another library, a user's module",
    r"\b(un)?entitle[ds]?\b|\bentitlement\b": "allowed, tolerance",
    r"\bwhoever\b": "a user, the caller",
    r"\b(cellar|roof)\b": "name the package",
    r"\bgo(es|ing)? on from\b|\bwent on from\b": "continue from, the state or cache",
    r"\bin the wild\b": "in practice",
    r"\briddles?\b": "say it plainly",
}
OWN = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/README.md")
NOTEBOOKS = [f"notebooks/{path.name}" for path in sorted((ROOT / "notebooks").glob("*.py"))]
PAGES = [*OWN, *_markdown("docs"), *NOTEBOOKS]


def private(text: str) -> list[str]:
    """Every private word in a text, with what to write instead."""
    found = []
    for pattern, instead in INSTEAD.items():
        words = (match[0] for match in re.finditer(pattern, text, re.I))
        found += [f"{word!r}: write {instead}" for word in words]
    return found


def prose(source: str) -> list[tuple[int, str]]:
    """The strings, docstrings and comments of a Python file, each with its line."""
    found = [
        (node.lineno, node.value)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return found + [(t.start[0], t.string) for t in tokens if t.type == tokenize.COMMENT]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_no_private_words(page):
    lines = enumerate((ROOT / page).read_text("utf-8").splitlines(), 1)
    assert [(n, word) for n, line in lines for word in private(line)] == []


def test_the_sources_have_no_private_words():
    complaints = [
        f"{path}:{line}: {word}"
        for path, source in SOURCES.items()
        for line, text in prose(source)
        for word in private(text)
    ]
    assert complaints == []


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("The court was wrong.", "'court'"),
        ("Both Rooms hold", "'Rooms'"),
        ("compared with what nobody here wrote", "'nobody'"),
        ("of anyone's module", '"anyone\'s"'),
        ("what the function is entitled to", "'entitled'"),
        ("the state that it goes on from", "'goes on from'"),
    ],
)
def test_private_words_are_found(text, word):
    [complaint] = private(text)
    assert complaint.startswith(f"{word}: write ")
    for source in (f"x = {text!r}", f"# {text}", f'def f():\n    """{text}"""', f"x = f{text!r}"):
        assert [private(said) for _, said in prose(source)] == [[complaint]]


def test_plain_words_pass():
    assert private("The verifier checks the mixer; the state is passed to the next call.") == []
    assert prose("room = courts.nobody") == []  # names are code, not prose
