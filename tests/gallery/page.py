"""docs/gallery.md: the labels of the gallery. `python -m tests.gallery.page` writes it."""

from pathlib import Path

from trilby.gallery import LAWS, SOUND, WRONG, Exhibit

PAGE = Path(__file__).parents[2] / "docs" / "gallery.md"
HEAD = """# The gallery

{wrong} small modules that are wrong by one fault each, after reports of people who met it, and
{right} that are right and have been taken for wrong. `trilby gallery` lists them, `trilby gallery
NAME` shows one with its code. Each label says which law breaks first, what the verdict calls the
fault, and which laws may break in consequence. Tests hold the labels against plain torch, without
the court; `python -m tests.gallery.page` writes this page.

"""


def page() -> str:
    """The page in Markdown."""
    text = HEAD.format(wrong=len(WRONG), right=len(SOUND))
    for law in LAWS:
        shown = [exhibit for exhibit in WRONG.values() if exhibit.law == law]
        text += f"## Wrong: [{law}](laws/{law}.md)\n\n"
        text += "| exhibit | fault | called | may break too | after |\n|---|---|---|---|---|\n"
        for one in shown:
            cells = [f"`{one.name}`", one.story, one.kind, " ".join(one.then), _after(one)]
            text += f"| {' | '.join(cells)} |\n"
        text += "\n"
    text += "## Right\n\n| exhibit | why it looks wrong | after |\n|---|---|---|\n"
    for one in SOUND.values():
        text += f"| `{one.name}` | {one.story} | {_after(one)} |\n"
    return text


def _after(exhibit: Exhibit) -> str:
    """`[keras 23038](https://...)`."""
    named = []
    for address in exhibit.source:
        *_, repository, _, number = address.split("/")
        named.append(f"[{repository} {number}]({address})")
    return ", ".join(named)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
