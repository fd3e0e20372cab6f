"""Assertions for pytest and unittest: each asks one law of the court, and fails with its witness.

    from trilby.testing import assert_causal

    def test_my_block():
        assert_causal(Block(), torch.randn(2, 16, 8))

A guard for a training script is the same in one line, before the first step, on its first batch::

    assert_causal(model, batch[:2, :64], effort="quick")
"""

from collections.abc import Callable
from typing import Any

from .court import check, same


def assert_causal(subject: Any, example: Any, **how: Any) -> None:
    """No output reads a later position; keywords as for `trilby.check`.

    Raises:
        AssertionError: with the witness, the measured triangle and a reproducer.

    >>> import torch
    >>> assert_causal(lambda x: x.cumsum(1), torch.randn(2, 16, 8), effort="quick")
    """
    _asserted(subject, example, ("causal",), how)


def assert_repeats(subject: Any, example: Any, **how: Any) -> None:
    """Equal calls have equal results, and nothing is written over; else an AssertionError."""
    _asserted(subject, example, ("repeats",), how)


def assert_resumes(subject: Any, example: Any, **how: Any) -> None:
    """The whole equals piece after piece; say how it goes on with `carry=`."""
    _asserted(subject, example, ("resumes",), how)


def assert_isolated(subject: Any, example: Any, **how: Any) -> None:
    """Rows do not see each other, nor pads (`padding=`), nor other documents (`documents=`)."""
    named = [law for law in ("padding", "documents") if how.get(law)]
    _asserted(subject, example, ("isolated", *named), how)


def assert_differentiates(subject: Any, example: Any, **how: Any) -> None:
    """Gradients to inputs and parameters equal central differences; else an AssertionError."""
    _asserted(subject, example, ("differentiates",), how)


def assert_sound(subject: Any, example: Any, **how: Any) -> None:
    """In every dtype the error stays within what rounding entitles the function to."""
    _asserted(subject, example, ("sound",), how)


def assert_compiles(subject: Any, example: Any, **how: Any) -> None:
    """Compiled it gives what eager mode gives; else an AssertionError."""
    _asserted(subject, example, ("compiles",), how)


def assert_same(f: Callable[..., Any], g: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """f and g are the same function at these arguments, as `trilby.same` judges.

    Raises:
        AssertionError: with the sentence of the verdict and its reproducer.

    >>> import torch
    >>> assert_same(lambda x: x + x, lambda x: 2 * x, torch.ones(2))
    """
    verdict = same(f, g, *args, **kwargs)
    if not verdict:
        raise AssertionError(f"{verdict}\n\n{verdict.reproducer}")


def _asserted(subject: Any, example: Any, laws: tuple[str, ...], how: dict[str, Any]) -> None:
    """A law that was not run is no pass: it fails too, with the reason."""
    report = check(subject, example, laws=laws, **how)
    for verdict in report:
        if not verdict.ok:
            parts = [verdict.sentence, verdict.detail, verdict.reproducer]
            told = "\n\n".join(part for part in parts if part)
            lead = f"{verdict.law} was not run: " if verdict.outcome == "not run" else ""
            raise AssertionError(lead + told)
