"""The work of `trilby mix` on several processes: each has its part of every block of the file."""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from ..card import Mixer
from ..errors import FileError
from ..files import IDS, Bundle
from ..files.joint import JointSink, join
from ..files.share import Part, divisible, shared
from .mixing import Together, apart, array_of, begins, given_of, opened, stoppable, told_of
from .planning import Plan, planned
from .processes import Processes
from .statefile import Past, read_state, state_bytes

FORM = "shard"


def mix_shared(
    group: Processes,
    card: Mixer[..., Any],
    path: str,
    out: str,
    *,
    state_in: str | None = None,
    state_out: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    **options: Any,
) -> str:
    """As `mixing.mix_file`, on each process of a group.

    Raises:
        TrilbyError: a wrong input; `out` and `state_out` are not changed.
    """
    form, block = options.pop("form"), options.pop("block")

    def begun() -> tuple[tuple[Bundle, Plan, Past | None], list[int]]:
        _fit(card, path, out, form, block, options)
        apart(path, out, state_in, state_out)
        past = read_state(state_in, card.name) if state_in else None
        bundle = stack.enter_context(opened(card, path, out, past, options))
        return (bundle, planned(card, bundle, parameters or {}, form), past), []

    with stoppable(), ExitStack() as stack:
        (bundle, plan, past), _ = group.agreed(begun)
        run = _Shared(group, card, bundle, plan, past)
        run.into(out, state_out, block)
        return told_of(run, path, out, [f"by {group.size} processes"])


def _fit(
    card: Mixer[..., Any], path: str, out: str, form: str | None, block: int | None, options: Any
) -> None:
    """Raise a FileError for what several processes cannot share."""
    divisible(path)
    divisible(out)
    card.form(FORM)
    if form not in (None, FORM):
        raise FileError(
            f"--form is {form!r}, and several processes take the form {FORM!r}; leave it out"
        )
    if options.get("skip_missing"):
        raise FileError("--skip-missing: several processes cannot share columns that have gaps of "
                        "their own; fill in the missing values, or run one process")  # fmt: skip
    if block and path.lower().endswith((".csv", ".tsv")):
        raise FileError(
            f"--block is {block}, and several processes share a table by its bytes; leave it out"
        )


class _Shared(Together):
    """A stream of which every process computes a part of each block."""

    def __init__(
        self, group: Processes, card: Mixer[..., Any], bundle: Bundle, plan: Plan, past: Past | None
    ) -> None:
        self.group, self.begun = group, False

        def fits() -> tuple[None, list[int]]:
            super(_Shared, self).__init__(card, bundle, plan, past)
            return None, []

        group.agreed(fits)

    def into(self, out: str, leave: str | None, block: int | None) -> None:
        """Write the output and the state, and put both in place when all parts are complete."""
        with ExitStack() as stack:
            staged = stack.enter_context(join(out, self.group))
            kept = stack.enter_context(join(leave, self.group)) if leave else None
            sink, _ = self.group.agreed(
                lambda: (JointSink(out, staged, self.plan.layout, self.group), [])
            )
            for part in shared(self.bundle, self.group, block):
                sink.append(part, array_of(self._mixed(part)))
            sink.finish(self.steps)
            if self.group.rank:
                return
            files = [file for file in (staged, kept) if file]
            if kept:
                names = self.plan.layout.columns
                kept.write(state_bytes(self.card.contract, self.state, names))
            for file in files:
                file.seal()
            for file in files:  # the output first, as `mixing` does it
                file.appear()

    def _mixed(self, part: Part) -> Any:
        """y of this process's stretch; the state after all stretches of the round is kept."""
        if part.start == 0:
            self.steps, self.now = 0, self.first(part.rows)
        given = given_of(self.bundle, part.values)
        if IDS in given:
            self.group.agreed(lambda: (begins(self.bundle.name, part.values[IDS], part.last,
                                              part.rows.start, part.at), []))  # fmt: skip
        state = None if part.fresh else self.now  # it belongs to the first document of a call
        y, self.now = self.card.form(FORM)(**given, **self.plan.parameters, state=state)
        self.steps += part.steps
        self.store(self.now, part.rows)
        return y
