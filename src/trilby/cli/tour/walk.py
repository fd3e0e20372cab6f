"""From the mean to the delta rule on one sentence: what changes at each step, drawn and proven."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ... import data
from ...card import Mixer, Weights
from ...mixers import MIXERS
from ...shown.lines import line
from ...verify import Verdict, same
from ..screen import Screen
from . import questions
from .speed import timed

SENTENCE = "Shall I compare thee to a summer's day?"
ROUNDS = 5
LARGE = dict(B=1, T=512, H=4, K=64, V=64)  # what is timed; mixers of channels take C of it
CHANNELS = dict(B=1, T=2048, C=512)

Given = tuple[Any, ...]


@dataclass(frozen=True)
class Step:
    """One mixer of the walk.

    Attributes:
        name: what the reader calls it.
        mixer: its name in trilby.
        rule: its definition in one line.
        changed: what is new, in one sentence.
        given: its arguments from the words [1, T, 1, letters].
        how: its options.
        answer: the answer to a question that comes up here.
    """

    name: str
    mixer: str
    rule: str
    changed: str
    given: Callable[[Tensor], Given]
    how: Mapping[str, Any] = field(default_factory=dict)
    answer: Callable[[Screen], None] | None = None

    @property
    def title(self) -> str:
        """The headline of its part of the tour."""
        return f"{self.name[0].upper()}{self.name[1:]}: {self.changed}"


def _log(x: Tensor, share: float) -> Tensor:
    """A decay for each word and head, as its logarithm: [1, T, 1]."""
    return torch.full(x.shape[:3], share).log()


def _half(x: Tensor) -> Tensor:
    """The delta rule goes half of the way to a new value; all of it would leave nothing to see."""
    return torch.full(x.shape[:3], 0.5)


def _by_letter(x: Tensor) -> Tensor:
    """Decays of channels, [1, T, 1, letters]: the first letters fade fast, the last ones slowly."""
    return torch.linspace(0.5, 1.0, x.shape[3]).log().expand_as(x)


STEPS = (
    Step(
        "mean", "mean", "y_t = sum over s <= t of v_s / (t + 1)",
        "all positions so far count the same",
        lambda x: (x[:, :, 0],),
    ),
    Step(
        "decay", "decay", "y_t = sum over s <= t of a^(t - s) (q_t . k_s) v_s",
        "a word counts by its likeness to the word that reads, and less with every step back",
        lambda x: (x, x, x, _log(x, 0.8)), answer=questions.why_is_a_scan_slow,
    ),
    Step(
        "weighted mean", "weighted", "y_t = sum of exp(z_s) v_s / sum of exp(z_s)",
        "each word has a score; here half of its number of letters",
        lambda x: (x[:, :, 0], x.new_tensor([len(w) / 2 for w in SENTENCE.split()])[None, :, None]),
    ),
    Step(
        "attention", "attention", "y_t = sum of exp(4 q_t . k_s) v_s / sum of exp(4 q_t . k_s)",
        "the score is a question: it depends on the word that reads as well",
        lambda x: (x, x, x), dict(scale=4.0), questions.which_way_does_a_mask_point,
    ),
    Step(
        "linear attention", "linear", "y_t = q_t . (sum of k_s v_s) / q_t . (sum of k_s)",
        "without exp the sums do not depend on t, so a state holds them",
        lambda x: (x, x, x), dict(normalize=True), questions.why_read_before_the_future,
    ),
    Step(
        "delta rule", "delta", "h = h + k_t beta (v_t - h . k_t), y_t = h . q_t",
        "half of what is found at a key is taken off before half of the value is written",
        lambda x: (x, x, x, _half(x)),
    ),
    Step(
        "gated delta rule", "delta", "h = a h + k_t beta (v_t - a h . k_t), y_t = h . q_t",
        "and the memory fades",
        lambda x: (x, x, x, _half(x), _log(x, 0.8)),
    ),
    Step(
        "kda", "kda", "h = a_k h + k_t beta (v_t - a_k h . k_t), y_t = h . q_t",
        "each letter of a key fades at its own rate",
        lambda x: (x, x, x, _by_letter(x), _half(x)),
    ),
)  # fmt: skip


def show(number: int, screen: Screen) -> None:
    """A step: what changed, two triangles, every form against the loop, its speed, its question."""
    before, step = STEPS[number - 1] if number else None, STEPS[number]
    words, x = sentence()
    if before is None:
        assert SENTENCE in data.sonnets()
        screen.wrapped(
            f"One sentence of {len(words)} words. A word is the counts of its letters, scaled to "
            f"length 1: {x.shape[3]} numbers. It is query, key and value at once. Every step "
            "changes one thing."
        )
    for one in (before, step) if before else (step,):
        screen.said(line(f"  {one.name:16} {one.rule}"), " " * 19)
    screen.line()
    triangles(screen, words, {one.name: triangle(one, x) for one in (before, step) if one})
    proven(screen, step, x)
    fast(screen, step)
    if step.answer is not None:
        screen.line()
        step.answer(screen)


def sentence() -> tuple[list[str], Tensor]:
    """The words of the sentence, and the letters of each: [1, T, 1, letters], of length 1."""
    words = SENTENCE.split()
    letters = sorted({letter for letter in SENTENCE.lower() if letter.isalpha()})
    counts = torch.tensor([[float(word.lower().count(c)) for c in letters] for word in words])
    return words, (counts / counts.norm(dim=1, keepdim=True))[None, :, None]


def triangle(step: Step, x: Tensor) -> Tensor:
    """What each word reads of each other: [T, T]."""
    mixer: Mixer[..., Any] = MIXERS[step.mixer]
    found: Weights = mixer.weights(*step.given(x), **step.how)
    return found.wei.flatten(0, -3)[0]


def triangles(screen: Screen, words: list[str], weights: dict[str, Tensor]) -> None:
    """The triangles side by side, or below each other where the terminal is narrow."""
    T, label = len(words), max(map(len, words))
    wide = 4 * T
    both = screen.width >= label + (wide + 2) * len(weights)
    for names in [list(weights)] if both else [[name] for name in weights]:
        screen.line(" " * label + "".join(f"  {name:>{wide}}" for name in names).rstrip())
        for t, word in enumerate(words):
            cells = "".join(f"  {_row(weights[name], t)}" for name in names)
            screen.line(f"{word:>{label}}{cells}")
        screen.line()


def _row(wei: Tensor, t: int) -> str:
    """A row in cells of four columns; the future is shown as dots."""
    return "".join(f"{cell:>4}" for cell in (*map(_cell, wei[t, : t + 1].tolist()),
                                             *["·"] * (len(wei) - t - 1)))  # fmt: skip


def _cell(weight: float) -> str:
    text = f"{abs(weight):.2f}"
    sign = "-" if weight < 0 and text != "0.00" else ""
    return sign + (text.removeprefix("0") if text < "1" else f"{abs(weight):.1f}")


def proven(screen: Screen, step: Step, x: Tensor) -> None:
    """Every form beside the loop: one line if all agree, else a sentence of each that does not."""
    mixer, given = MIXERS[step.mixer], step.given(x)
    loop = partial(mixer.forms["loop"], **step.how)
    names = [name for name in mixer.forms if name != "loop"]
    verdicts = {
        name: same(loop, partial(mixer.forms[name], **step.how), *given, gradients=False)
        for name in names
    }
    if all(verdicts.values()):
        most = max(verdicts.values(), key=_error)
        screen.wrapped(
            f"loop = {' = '.join(names)}: they differ by rounding only, by {_error(most):.1e} at "
            "most.",
            "  ", "  ",
        )  # fmt: skip
        return
    for name, verdict in verdicts.items():
        if not verdict:
            screen.wrapped(f"{mixer.name}.{name}: {verdict}", "  ", "  ")


def _error(verdict: Verdict) -> float:
    return verdict.error or 0.0


def fast(screen: Screen, step: Step) -> None:
    """The fastest form beside the chunked one on random inputs, after a verdict on the same."""
    mixer = MIXERS[step.mixer]
    given = mixer.draw(**LARGE if mixer.contract.shared == "H" else CHANNELS)
    if len(given) > len(step.given(sentence()[1])):
        given = given[: len(step.given(sentence()[1]))]  # without the gate
    call, chunk = partial(mixer, **step.how), partial(mixer.forms["chunk"], **step.how)
    first = [x[:, :128] if isinstance(x, Tensor) and x.ndim > 1 else x for x in given]
    verdict = same(chunk, call, *first, gradients=False)
    if not verdict:
        screen.wrapped(f"  no times, since the forms differ: {verdict}", "  ")
        return
    ways: dict[str, Callable[[], object]] = {
        f"trilby.{mixer.name}(...)": lambda: call(*given),
        'form="chunk"': lambda: chunk(*given),
    }
    screen.line(f"  {list(given[0].shape)} float32:")
    timed(screen, ways, "times the first", rounds=ROUNDS)
