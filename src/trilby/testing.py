"""Assertions for pytest and unittest: each tests one law, and fails with the verdict.

    from trilby.testing import assert_causal

    def test_my_block():
        assert_causal(Block(), torch.randn(2, 16, 8))

In a training script, call one before the first step, on the first batch::

    assert_causal(model, batch[:2, :64], effort="quick")

All laws, each as a test of its own that pytest names::

    from trilby.testing import parametrize_with_laws

    @parametrize_with_laws(Block(), torch.randn(2, 16, 8), fails={"sound": "float16 overflows"})
    def test_my_block(law):
        law()
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .card import Mixer
from .errors import CallError
from .verify import LAWS, Verdict, check, same

if TYPE_CHECKING:
    import pytest

GIVEN = {"resumes": "carry", "padding": "padding", "documents": "documents"}
"""Laws that ask a module for a keyword of `trilby.check`, and which one."""


def _assertion(law: str, promise: str) -> Callable[..., None]:
    """An assertion for a law; isolation also tests padding and documents if they are named."""

    def asserted(subject: Any, example: Any, **options: Any) -> None:
        __tracebackhide__ = True
        named = [
            more for more in ("padding", "documents") if law == "isolated" and options.get(more)
        ]
        _asserted(subject, example, (law, *named), options)

    asserted.__name__ = asserted.__qualname__ = f"assert_{law}"
    asserted.__doc__ = f"""{promise}

    Keywords are those of `trilby.check`.

    Raises:
        AssertionError: the verdict and a reproducer; also where the law could not be run, or not
            at all its sizes.

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
    __tracebackhide__ = True
    _asserted(subject, example, ("resumes",), options)


def assert_lawful(subject: Any, example: Any = None, **options: Any) -> None:
    """Every law that can be asked holds, as tested by `trilby.check`.

    Keywords are those of `trilby.check`. A law that was not run passes if another one was run.

    Raises:
        AssertionError: what broke, law by law, with the reproducer of the first; also where no law
            could be run, and where sizes were left out for lack of time.

    >>> import torch
    >>> assert_lawful(lambda x: x.cumsum(1), torch.randn(2, 16, 8), effort="quick")
    """
    __tracebackhide__ = True
    report = check(subject, example, **options)
    if not report:
        failed = report.first()
        raise AssertionError("\n\n".join([str(report), *(v.reproducer for v in failed[:1])]))


def parametrize_with_laws(
    subject: Any,
    example: Any = None,
    *,
    laws: Iterable[str] | None = None,
    fails: Mapping[str, str] | None = None,
    **options: Any,
) -> "pytest.MarkDecorator":
    """Run a pytest test once for each law; its argument `law` is called to ask that law.

    Args:
        subject, example: as in `trilby.check`.
        laws: names of laws; None is all that can be asked. Of a module, `resumes`, `padding` and
            `documents` need their keyword, and `compiles`, which takes seconds, its name.
        fails: law -> why it is broken for now. That test is an expected failure, and fails
            once the law holds.
        options: other keywords of `trilby.check`.

    Returns:
        A decorator. The id of a test is the name of its law; a law that cannot be run is skipped,
        with the reason. One that was not tried at all its sizes fails, and so it does if `fails`
        names it.

    Raises:
        CallError: no such law, or `fails` names one that is not asked.
    """
    import pytest

    asked = list(laws) if laws is not None else _askable(subject, options)
    expected = dict(fails or {})
    for name in (*asked, *expected):
        if name not in (LAWS if name in asked else asked):
            raise CallError(
                f"parametrize_with_laws: there is no law {name!r} among those that are asked; "
                f"take one of {' '.join(LAWS if name in asked else asked)}"
            )

    def asking(law: str) -> Callable[[], None]:
        def ask() -> None:
            __tracebackhide__ = True
            report = check(subject, example, laws=[law], **options)
            for verdict in report.failed():
                _held(verdict)
            for verdict in report.unfinished():  # not an AssertionError, which `fails` expects
                pytest.fail(_unfinished(verdict), pytrace=False)
            if not report:
                pytest.skip(report.verdicts[0].sentence)

        return ask

    return pytest.mark.parametrize(
        "law", [pytest.param(asking(law), id=law, marks=_marks(expected.get(law))) for law in asked]
    )


def assert_same(
    f: Callable[..., Any], g: Callable[..., Any], *args: Any, gradients: bool = True, **kwargs: Any
) -> None:
    """f and g are the same function at these arguments, as tested by `trilby.same`.

    `gradients=False` leaves the backward passes out.

    Raises:
        AssertionError: with the verdict and a reproducer.

    >>> import torch
    >>> assert_same(lambda x: x + x, lambda x: 2 * x, torch.ones(2))
    """
    __tracebackhide__ = True
    verdict = same(f, g, *args, gradients=gradients, **kwargs)
    if not verdict:
        raise AssertionError(f"{verdict}\n\n{verdict.reproducer}")


def _asserted(subject: Any, example: Any, laws: tuple[str, ...], options: dict[str, Any]) -> None:
    """Run laws; a law that was skipped fails too, with the reason."""
    __tracebackhide__ = True
    for verdict in check(subject, example, laws=laws, **options):
        _held(verdict)


def _held(verdict: Verdict) -> None:
    """Raise an AssertionError unless the law was run at all its sizes and holds."""
    __tracebackhide__ = True
    if verdict.outcome == "holds" and verdict.cut:
        raise AssertionError(_unfinished(verdict))
    if not verdict.ok:
        parts = [verdict.sentence, verdict.detail, verdict.reproducer]
        text = "\n\n".join(part for part in parts if part)
        lead = f"{verdict.law} skipped: " if verdict.outcome == "not run" else ""
        raise AssertionError(lead + text)


def _unfinished(verdict: Verdict) -> str:
    """What a test says of a law that was not tried at all sizes: it is not known to be broken."""
    where = "holds where it was tried" if verdict.outcome == "holds" else "was not run"
    return f"{verdict.law} {where}: {verdict.cut}"


def _askable(subject: Any, options: Mapping[str, Any]) -> list[str]:
    """The laws that can be asked of a mixer, or of a module with these options."""
    if isinstance(subject, Mixer):
        return [law for law in LAWS if law != "padding"]
    missing = {law for law, keyword in GIVEN.items() if options.get(keyword) is None}
    return [law for law in LAWS if law not in {"agrees", "compiles", *missing}]


def _marks(reason: str | None) -> tuple[Any, ...]:
    """An expected failure, if there is a reason; another exception is none."""
    import pytest

    expected = pytest.mark.xfail(reason=reason or "", strict=True, raises=AssertionError)
    return () if reason is None else (expected,)
