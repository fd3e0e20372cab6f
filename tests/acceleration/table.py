"""The table of types by checks, as they are and accelerated: `python -m tests.acceleration.table`.

It writes `docs/hybrids.md`. A test, one of `make test-long`, compares the page with what it finds.
"""

import sys
import warnings
from pathlib import Path

import torch

from tests.acceleration.models import FEW, MORE, T, in_pieces, logits, model_of, tokens
from trilby.transformers import accelerate, restore

PAGE = Path(__file__).parents[2] / "docs" / "hybrids.md"
FIRST, GAP = 8, 6
FAR = 1e-5  # of the largest logit; what is wrong is off by a thousandth at least
HEAD = """# Hybrids of transformers by checks

Small models with random weights in float64, with transformers {release}: each as it is, then
accelerated, where that is another cell. "holds" is a difference of less than 1e-5 of the largest
logit. This page is written by `python -m tests.acceleration.table`, and `make test-long` compares
it with what it finds.

| check | what is compared |
|---|---|
| packed | two sequences in a row, told by `position_ids`, with each alone |
| tokens | one token at a time from the cache with one pass |
| pieces | several tokens at a time from the cache with one pass |
| padding | a row with padding on the left with the row alone |
| repeats | two calls, to the bit |
| same | logits of the accelerated model with those of the original |

"""


def packed(model):
    ids = tokens()
    positions = torch.cat([torch.arange(FIRST), torch.arange(T - FIRST)])[None]
    alone = [logits(model, part) for part in (ids[:, :FIRST], ids[:, FIRST:])]
    return logits(model, ids, position_ids=positions), torch.cat(alone, 1)


def one(model):
    return in_pieces(model, tokens(), (1,) * T, counted=True), logits(model, tokens())


def several(model):
    return in_pieces(model, tokens(), (1, 5, 6, 1, 8), counted=True), logits(model, tokens())


def padding(model):
    ids = tokens(B=2)
    mask = torch.ones_like(ids)
    mask[0, :GAP] = 0
    return logits(model, ids, attention_mask=mask)[:1, GAP:], logits(model, ids[:1, GAP:])


CHECKS = {"packed": packed, "tokens": one, "pieces": several, "padding": padding}


@torch.no_grad()
def cell(check, model):
    """What a check finds: holds, differs or raises."""
    try:
        found, right = check(model)
    except Exception:
        return "raises"
    far = float((found - right).abs().max()) / float(right.abs().max())
    return "holds" if far < FAR else "DIFFERS"


@torch.no_grad()
def row(kind):
    """The cells of one type: for each check as it is and accelerated, then the last two."""
    model = model_of(kind)
    plain = logits(model, tokens(B=2))
    before = {name: cell(check, model) for name, check in CHECKS.items()}
    accelerate(model)
    after = {name: cell(check, model) for name, check in CHECKS.items()}
    found = logits(model, tokens(B=2))
    again = "holds" if torch.equal(found, logits(model, tokens(B=2))) else "DIFFERS"
    same = cell(lambda _: (found, plain), model)
    restore(model)
    both = (before[n] if before[n] == after[n] else f"{before[n]} → {after[n]}" for n in CHECKS)
    return [*both, again, same]


def page(kinds):
    """The whole page."""
    import transformers

    lines = [f"| type | {' | '.join(CHECKS)} | repeats | same |", "|---" * (len(CHECKS) + 3) + "|"]
    lines += [f"| {kind} | {' | '.join(row(kind))} |" for kind in sorted(kinds)]
    return HEAD.format(release=transformers.__version__) + "\n".join(lines) + "\n"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    PAGE.write_text(page(FEW + MORE), encoding="utf-8")
    sys.stdout.write(PAGE.read_text(encoding="utf-8"))
