"""The walk from the mean to attention and the delta rule: each step sets the views of the page."""

from typing import NamedTuple

from .naming import named
from .positions import Positions, positions
from .triangle import Subject
from .unfolding import unfolded

T = 64  # positions, of the text and of the series
TEXT = ("mean", "weighted", "attention", "linear", "decay", "delta")
FADING, SERIES = "ema:0.9", "sunspots"


class Step(NamedTuple):
    """One step of the walk.

    Attributes:
        title: a few words.
        text: what to look at.
        shows: the name of the triangle.
        view: of the page.
        row, column: the cell that is chosen.
        scale: "log" or "linear".
    """

    title: str
    text: str
    shows: str
    view: str
    row: int
    column: int
    scale: str = "log"


SUNSPOTS = f"{FADING} of {SERIES}"
STEPS = (
    Step(
        "The mean of everything so far",
        "The chosen row reads all positions up to its own, each with the same weight. Move up and "
        "down: the further down, the more a row reads and the less each position counts.",
        "mean", "matrix", 40, 12,
    ),
    Step(
        "Nothing of the future",
        "Above the diagonal every weight is exactly zero: no output depends on what comes later. "
        "That is what makes it fit to predict the next character.",
        "mean", "leaks", 40, 12,
    ),
    Step(
        "One function, several programs",
        "A loop, a product with the triangle, a softmax over a masked row: the numbers differ by "
        "rounding only. Press play and see what the loop keeps: a total and a count.",
        "mean", "forms", 40, 12,
    ),
    Step(
        "Some positions count more",
        "Now each character has a score s, and its weight is exp(s) over the sum of the row. "
        "Follow a column down: what counts much for one row counts much for every row.",
        "weighted", "matrix", 40, 12,
    ),
    Step(
        "The recent past counts more",
        "The number of sunspots, year by year. The weight falls by a tenth with each year that one "
        "looks back, whatever happened in it. The line follows the dots smoothly and late.",
        SUNSPOTS, "matrix", 40, 36,
    ),
    Step(
        "The reader chooses: softmax attention",
        "The weight is exp(q · k) over the sum of the row: the query of the position that reads "
        "meets the key of each position read. So each row picks its own. Equal characters have "
        "equal keys here, and nothing is trained.",
        "attention", "matrix", 40, 12,
    ),
    Step(
        "What attention has to keep",
        "The next query may ask for any position, so all keys and values stay. Press play: what it "
        "holds grows with every character.",
        "attention", "forms", 63, 12,
    ),
    Step(
        "Linear attention: without exp",
        "The weight is q · k, over the sum of the row. It is less sharp than a softmax.",
        "linear", "matrix", 40, 12,
    ),
    Step(
        "A state that does not grow",
        "Without exp the sum over the past can be taken before the query is known: keys times "
        "values, added up. Press play: it holds the same count of numbers at every position.",
        "linear", "forms", 63, 12,
    ),
    Step(
        "Decay: it forgets",
        "A sum that only grows gets crowded. A gate shrinks it at every position, so that old "
        "positions fade. The gate may depend on the character; the tenth of the sunspots did not.",
        "decay", "matrix", 40, 34,
    ),
    Step(
        "The delta rule: it corrects",
        "Before it writes, it reads what its state already answers to this key, and adds only the "
        "difference. So a character that comes again replaces what it wrote before.",
        "delta", "matrix", 40, 34,
    ),
    Step(
        "And still a triangle",
        "The delta rule is a recurrence with a state, and yet exactly a matrix over positions: the "
        "sum of w x is its own output. Nothing of the future here either. Choose any view now.",
        "delta", "leaks", 40, 34,
    ),
)  # fmt: skip


def story() -> tuple[Positions, tuple[Subject, ...]]:
    """What the walk shows: mixers over the sonnets, and one over the numbers of sunspots."""
    text, series = positions("sonnets", T, None), positions(SERIES, T, None)
    subjects = [unfolded(named(name), text) for name in TEXT]
    fading = named(FADING)._replace(name=SUNSPOTS)
    subjects.insert(2, unfolded(fading, series, own=True))
    return text, tuple(subjects)
