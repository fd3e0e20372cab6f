"""A model of transformers as it is and accelerated, in turn: text, speed, memory."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..bench.clock import Timings, clocked, rotated
from ..errors import CallError
from ..shown.lines import Line, Span, columns, line
from ..transformers import Report, accelerated

WAYS = ("original", "trilby")
STATUS, PEAK = Path("/proc/self/status"), Path("/proc/self/clear_refs")  # of Linux


@dataclass(frozen=True)
class Beside:
    """What both did. True where a layer was seen to call trilby and the text is the same.

    Attributes:
        report: of `accelerate`.
        prompt: how many tokens were read.
        tokens: way -> the tokens that it generated.
        reading: seconds to read the prompt.
        writing: seconds to read the prompt and to generate.
        memory: way -> peak memory of the process meanwhile, in bytes; None where unknown.
    """

    report: Report
    prompt: int
    tokens: dict[str, list[int]]
    reading: Timings
    writing: Timings
    memory: dict[str, int | None]

    @property
    def same(self) -> bool:
        """Whether both generated the same tokens."""
        return self.tokens["original"] == self.tokens["trilby"]

    def __bool__(self) -> bool:
        return bool(self.report) and self.same

    def rates(self) -> dict[str, dict[str, float]]:
        """Tokens per second of each way, by what it does."""
        both = {
            "prompt tokens per second": (self.reading, dict.fromkeys(WAYS, self.prompt)),
            "new tokens per second": (self.writing, {w: len(self.tokens[w]) for w in WAYS}),
        }
        return {
            what: {way: count[way] / timed.median(way) for way in WAYS}
            for what, (timed, count) in both.items()
        }

    def lines(self, text: dict[str, str] | None) -> Iterator[Line]:
        """The report, the figures side by side, and the text."""
        for row in str(self.report).splitlines():
            yield line(row)
        yield line()
        rows = [[Span(""), *map(Span, WAYS), Span("times")]]
        for what, rate in self.rates().items():
            times = rate["trilby"] / rate["original"]
            cells = (f"{rate[way]:.1f}" for way in WAYS)
            rows.append([Span(what), *map(Span, cells), Span(f"{times:.2f}")])
        cells = (f"{m / 2**20:.0f}" if (m := self.memory[w]) else "not known" for w in WAYS)
        rows.append([Span("peak memory, MiB"), *map(Span, cells), Span("")])
        yield from columns(rows)
        yield line()
        yield self._verdict()
        told = text or {way: " ".join(map(str, t)) for way, t in self.tokens.items()}
        for way in WAYS[1:] if self.same else WAYS:
            yield line(f"  {'both' if self.same else way}: {told[way]!r}")

    def _verdict(self) -> Line:
        one, other = (self.tokens[way] for way in WAYS)
        if self.same:
            return line(Span("the same text", "ok"), f", {len(one)} tokens")
        pairs = enumerate(zip(one, other, strict=False))
        at = next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))
        return line(Span("another text", "broken"), f" from new token {at + 1} on")

    def as_dict(self, text: dict[str, str] | None) -> dict[str, Any]:
        """For JSON."""
        layers = [
            {"path": x.path, "kind": x.kind, "ours": list(x.ours), "left": x.left,
             "seen": list(x.seen)}
            for x in self.report.layers
        ]  # fmt: skip
        return {
            "ok": bool(self),
            "model": self.report.model,
            "why": self.report.why,
            "layers": layers,
            "packed": self.report.packed,
            "same": self.same,
            "tokens": self.tokens,
            "text": text,
            "rates": self.rates(),
            "rounds": self.writing.rounds,
            "memory_bytes": self.memory,
        }


def beside(model: Any, ids: list[int], new: int, rounds: int, place: Path) -> Beside:
    """Run both in turn, after one round without a clock.

    Raises:
        CallError: none of the layers can be replaced.
    """
    with accelerated(model) as report:
        pass
    if not report.layers:
        raise CallError(
            f"accelerate: {place} holds a {report.model}, and none of its layers calls a function "
            "that trilby has; the page on transformers in the documentation lists the types"
        )
    prompt = torch.tensor([ids])
    tokens: dict[str, list[int]] = {}
    memory: dict[str, int | None] = {}
    written: list[list[int]] = []
    reading: dict[str, list[float]] = {way: [] for way in WAYS}
    writing: dict[str, list[float]] = {way: [] for way in WAYS}
    for turn in range(rounds + 1):
        for way in rotated([*WAYS], turn):
            with accelerated(model) if way == "trilby" else nullcontext():
                known = _reset()
                read = clocked(lambda: _read(model, prompt))
                wrote = clocked(lambda: written.append(_write(model, prompt, new)))
                tokens[way] = written.pop()
                memory[way] = _peak() if known else None
            if turn:
                reading[way].append(read)
                writing[way].append(wrote)
    return Beside(report, len(ids), tokens, Timings(reading), Timings(writing), memory)


@torch.no_grad()
def _read(model: Any, prompt: Tensor) -> None:
    model(input_ids=prompt, use_cache=False)


def _write(model: Any, prompt: Tensor, new: int) -> list[int]:
    pad = model.generation_config.pad_token_id
    how: dict[str, Any] = {"pad_token_id": 0} if pad is None else {}
    found = model.generate(
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=new, do_sample=False,
        num_beams=1, **how,
    )  # fmt: skip
    return found[0, prompt.shape[1] :].tolist()


def _reset() -> bool:
    """Begin to measure the peak; False where the system does not tell it."""
    try:
        PEAK.write_text("5")
    except OSError:
        return False
    return STATUS.is_file()


def _peak() -> int | None:
    rows = (row.split() for row in STATUS.read_text().splitlines())
    return next((int(row[1]) * 1024 for row in rows if row and row[0] == "VmHWM:"), None)
