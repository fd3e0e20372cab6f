"""docs/gallery.md: the labels of the gallery. `python -m tests.gallery.page` writes it."""

from pathlib import Path

from trilby.gallery import LAWS, SOUND, WRONG, Exhibit

PAGE = Path(__file__).parents[2] / "docs" / "gallery.md"
HEAD = """# The gallery

The gallery has {wrong} small modules with one fault each, modelled on public bug reports, and
{right} correct modules that look wrong. `trilby gallery` lists them; `trilby gallery NAME` shows
one of them with its code.

The label of a faulty module says which law it breaks first, what the verifier calls the fault,
and which other laws may break as a result. Tests confirm the labels with plain torch, without the
verifier. `python -m tests.gallery.page` writes this page.

"""


def page() -> str:
    """The page in Markdown."""
    text = HEAD.format(wrong=len(WRONG), right=len(SOUND))
    for law in LAWS:
        shown = [exhibit for exhibit in WRONG.values() if exhibit.law == law]
        text += f"## Wrong: [{law}](laws/{law}.md)\n\n"
        text += "| exhibit | fault | cause | may also break | source |\n|---|---|---|---|---|\n"
        for one in shown:
            cells = [f"`{one.name}`", one.story, one.kind, " ".join(one.then), _sources(one)]
            text += f"| {' | '.join(cells)} |\n"
        text += "\n"
    text += "## Correct\n\n| exhibit | why it looks wrong | source |\n|---|---|---|\n"
    for one in SOUND.values():
        text += f"| `{one.name}` | {one.story} | {_sources(one)} |\n"
    return text


def _sources(exhibit: Exhibit) -> str:
    """`[keras 23038](https://...)`."""
    named = []
    for address in exhibit.source:
        *_, repository, _, number = address.split("/")
        named.append(f"[{repository} {number}]({address})")
    return ", ".join(named)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
