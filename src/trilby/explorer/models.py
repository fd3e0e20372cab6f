"""A model of transformers, as an object or in a folder, and the tokens that it reads."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import data
from ..errors import CallError, NumberError
from ..mixers import MIXERS
from ..shapes import what
from .positions import SERIES, TEXT, Positions, few, of_tokens
from .tokens import NAME, printable

DRAWN = 64  # ids that are drawn where nothing is given and there is no tokenizer
LETTERS = 16  # of a text that one token stands for at most, on average
IDS = "give ids, x=torch.tensor([[5, 9, 12]])"


class Model(NamedTuple):
    """A model that was given.

    Attributes:
        model: itself.
        name: of its class.
        python: how it was given, as Python.
        folder: where its tokenizer may be; None where it was made in memory.
    """

    model: Any
    name: str
    python: str
    folder: Path | None


def model_of(given: object) -> Model | None:
    """The model that is given as an object or a folder; None for anything else.

    Raises:
        FileError: a folder whose model cannot be loaded.
        CallError: the model reads what an encoder leaves, or transformers is not installed.
    """
    if isinstance(given, str | os.PathLike) and str(given) not in MIXERS and os.path.isdir(given):
        from ..transformers.checkpoints import model_in

        folder = Path(given)
        return _checked(model_in("explore", folder), repr(os.fspath(given)), folder)
    library = sys.modules.get("transformers")
    if library is None or not isinstance(given, library.PreTrainedModel):
        return None
    folder = Path(given.name_or_path or ".")
    known = bool(given.name_or_path) and folder.is_dir()
    return _checked(given, "model", folder if known else None)


def _checked(model: Any, python: str, folder: Path | None) -> Model:
    name = printable(type(model).__name__, NAME)
    if getattr(model.config, "is_encoder_decoder", False):
        raise CallError(
            f"explore: {name} reads what an encoder leaves, and a causal language model is "
            "expected; give one that reads a single row of tokens"
        )
    return Model(model, name, python, folder)


def read(
    given: Model, x: str | Tensor | None, T: int | None, tokens: Sequence[str] | None
) -> tuple[Tensor, Positions]:
    """The ids [1, T] that the model reads, and what stands at each position.

    A text is tokenised where the folder of the model has a tokenizer, special tokens included.

    Raises:
        CallError: arguments that do not fit together, or a text without a tokenizer.
        NumberError: too many positions, or an id that the vocabulary does not have.
    """
    if T is not None and (isinstance(T, bool) or not isinstance(T, int) or T < 1):
        raise CallError(f"explore: T is {T!r}, expected a number of positions, 1 or more")
    words = _tokenizer(given)
    if x is None and words is None and tokens is None:
        rng = torch.Generator().manual_seed(0)
        x, said = torch.randint(_size(given), (1, T or DRAWN), generator=rng), ""
    elif isinstance(x, Tensor):
        said = "x"
    elif tokens is not None:
        raise CallError(f"explore: tokens name the ids of x, and x is no tensor; {IDS}")
    else:
        text, said = _text("sonnets" if x is None else x)
        if words is None:
            raise CallError(
                f"explore: x is {printable(said, NAME)}, and {given.name} has no tokenizer beside "
                f"it; {IDS}, or the folder that has one"
            )
        x = torch.tensor([words(text[: LETTERS * few(T or TEXT)])["input_ids"]])[:, : T or TEXT]
    ids = _ids(given, x, T)
    names = [str(i) for i in ids[0].tolist()] if words is None else _names(words, ids)
    if tokens is not None:
        names = [str(token) for token in tokens]
        if len(names) != len(x[0]):
            raise CallError(
                f"explore: tokens are {len(names)} and x has T={len(x[0])}; give as many"
            )
    return ids, of_tokens(said, names[: ids.shape[1]])


def _text(x: object) -> tuple[str, str]:
    """A text, and how it was given, as Python."""
    if not isinstance(x, str) or x in SERIES:
        shown = repr(x) if isinstance(x, str) else what(x)
        raise CallError(f"explore: x is {shown}, and a model reads a text or ids; {IDS}")
    if x != "sonnets":
        return x, repr(x)
    text = data.sonnets()
    return text[text.index("From fairest") :], repr(x)


def _tokenizer(given: Model) -> Any:
    """That of the folder, or None."""
    from ..transformers.checkpoints import has_tokenizer, tokenizer_in

    if given.folder is None or not has_tokenizer(given.folder):
        return None
    return tokenizer_in("explore", given.folder, IDS)


def _names(words: Any, ids: Tensor) -> list[str]:
    """The text of each token; its entry in the vocabulary where it is a part of a character."""
    found = [words.decode([i]) for i in ids[0].tolist()]
    entries = words.convert_ids_to_tokens(ids[0].tolist())
    return [
        entry if "\ufffd" in text or not text else text
        for text, entry in zip(found, entries, strict=True)
    ]


def _size(given: Model) -> int:
    return int(given.model.config.get_text_config().vocab_size)


def _ids(given: Model, x: Tensor, T: int | None) -> Tensor:
    if x.is_floating_point() or x.dtype == torch.bool or x.ndim != 2 or len(x) != 1:
        raise CallError(f"explore: x is {what(x)}, and a model reads one row of ids [1, T]; {IDS}")
    ids = x[:, :T].long()
    if not ids.shape[1]:
        raise CallError(f"explore: there are no tokens to read; {IDS}")
    few(ids.shape[1])
    size = _size(given)
    wrong = ((ids < 0) | (ids >= size)).nonzero()
    if len(wrong):
        t = int(wrong[0, 1])
        raise NumberError(
            f"explore: x[0, {t}] is {int(ids[0, t])}, and the vocabulary of {given.name} has the "
            f"ids 0 to {size - 1}"
        )
    return ids
