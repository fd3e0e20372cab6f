"""Assertions for pytest and unittest: each tests one law, and fails with the verdict.

    from trilby.testing import assert_causal

    def test_my_block():
        assert_causal(Block(), torch.randn(2, 16, 8))

In a training script, call one before the first step, on the first batch::

    assert_causal(model, batch[:2, :64], effort="quick")
"""

from collections.abc import Callable
from typing import Any

from .verify import check, same


def _assertion(law: str, promise: str) -> Callable[..., None]:
    """An assertion for a law; isolation also tests padding and documents if they are named."""

    def asserted(subject: Any, example: Any, **options: Any) -> None:
        named = [
            more for more in ("padding", "documents") if law == "isolated" and options.get(more)
        ]
        _asserted(subject, example, (law, *named), options)

    asserted.__name__ = asserted.__qualname__ = f"assert_{law}"
    asserted.__doc__ = f"""{promise}

    Keywords are those of `trilby.check`.

    Raises:
        AssertionError: the verdict and a reproducer; also where the law could not be run.

    >>> import torch
    >>> assert_{law}({_DEMO}, effort="quick")
    """
    return asserted


_DEMO = "lambda x: x.cumsum(1), torch.randn(2, 16, 8)"

assert_repeats = _assertion(
    "repeats", "Equal calls have equal results, and nothing is overwritten."
)
assert_causal = _assertion("causal", "No output reads a later position.")
assert_isolated = _assertion(
    "isolated", "Rows, padding (`padding=`) and documents (`documents=`) do not affect each other."
)
assert_differentiates = _assertion(
    "differentiates", "Gradients to inputs and parameters equal central differences."
)
assert_sound = _assertion(
    "sound", "In every dtype the error stays within the tolerance for rounding."
)
assert_compiles = _assertion("compiles", "The compiled module gives the same result as eager mode.")


def assert_resumes(subject: Any, example: Any, **options: Any) -> None:
    """Streaming equals one call; `carry=` says how state is kept between calls.

    Raises:
        AssertionError: the witness and a reproducer; also without `carry=`.
    """
    _asserted(subject, example, ("resumes",), options)


def assert_same(f: Callable[..., Any], g: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """f and g are the same function at these arguments, as tested by `trilby.same`.

    Raises:
        AssertionError: with the verdict and a reproducer.

    >>> import torch
    >>> assert_same(lambda x: x + x, lambda x: 2 * x, torch.ones(2))
    """
    verdict = same(f, g, *args, **kwargs)
    if not verdict:
        raise AssertionError(f"{verdict}\n\n{verdict.reproducer}")


def _asserted(subject: Any, example: Any, laws: tuple[str, ...], options: dict[str, Any]) -> None:
    """Run laws; a law that was skipped fails too, with the reason."""
    report = check(subject, example, laws=laws, **options)
    for verdict in report:
        if not verdict.ok:
            parts = [verdict.sentence, verdict.detail, verdict.reproducer]
            text = "\n\n".join(part for part in parts if part)
            lead = f"{verdict.law} skipped: " if verdict.outcome == "not run" else ""
            raise AssertionError(lead + text)
