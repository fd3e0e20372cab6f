"""What `accelerate` did: layer by layer which functions are ours now, and whether that was seen."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

PACKED = {
    True: "  packed sequences: two were seen to be kept apart",
    False: "  packed sequences: two were seen to be mixed, by layers that are not trilby's",
}


@dataclass(frozen=True)
class Layer:
    """One layer of a model that calls functions which can be replaced.

    Attributes:
        path: its name in the model, as in `model.get_submodule(path)`.
        kind: the name of its class.
        ours: the functions that are trilby's now, by the names of their packages.
        left: the functions that stay as they are -> why.
        seen: of `ours`, those that the layer was seen to call.
    """

    path: str
    kind: str
    ours: tuple[str, ...]
    left: dict[str, str]
    seen: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """What now runs what. It is true where at least one layer was seen to call trilby.

    Attributes:
        model: the name of the model's class.
        layers: the layers that call functions which can be replaced.
        why: one sentence where nothing was replaced, or nothing was proven; else empty.
        packed: whether two packed sequences were seen to be kept apart; None where the model could
            not be asked.
    """

    model: str
    layers: tuple[Layer, ...]
    why: str = ""
    packed: bool | None = None

    def __bool__(self) -> bool:
        return any(layer.seen for layer in self.layers)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        if not self.layers:
            yield f"{self.model}: nothing is replaced. {self.why}"
            return
        seen = sum(bool(layer.seen) for layer in self.layers)
        yield f"{self.model}: {seen} of {len(self.layers)} layers were seen to call trilby"
        if self.why:
            yield f"  {self.why}"
        alike = Counter((one.kind, one.ours, one.seen, (*one.left.items(),)) for one in self.layers)
        for (kind, ours, called, left), count in alike.items():
            yield f"  {count} {kind}"
            for name in ours:
                how = "trilby, seen to be called" if name in called else "trilby, not seen yet"
                yield f"    {name}  {how}"
            for name, why in left:
                yield f"    {name}  as it was: {why}"
        if self.packed is not None:
            yield PACKED[self.packed]
