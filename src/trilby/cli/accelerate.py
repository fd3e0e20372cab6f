"""`trilby accelerate MODEL_DIR`: a checkpoint as it is, and with functions of trilby."""

from pathlib import Path
from typing import Any

import click

from ..errors import FileError
from .screen import Screen, print_json, talk
from .target import checkpoint, quiet

INSTEAD = "give token ids: --tokens 5,9,12"


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="MODEL_DIR")
@click.option("--prompt", help="Text that is continued; MODEL_DIR needs a tokenizer for it.")
@click.option("--tokens", help="Token ids that are continued, e.g. 5,9,12.")
@click.option("--new", type=click.IntRange(1), default=32, show_default=True,
              help="How many tokens are generated at most.")  # fmt: skip
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True,
              help="How many times each is timed.")  # fmt: skip
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object, schema trilby.accelerate/1."
)
@click.pass_context
def accelerate(
    ctx: click.Context, folder: Path, prompt: str | None, tokens: str | None, new: int,
    rounds: int, as_json: bool,
) -> None:  # fmt: skip
    """Run a checkpoint of transformers on disk as it is and accelerated, side by side.

    Both continue the same prompt greedily. Shown are which layers now run what, whether the text is
    the same, tokens per second and peak memory. Exit 1 if the text differs, or if no layer was seen
    to call trilby. Weights are loaded without pickle.
    """
    from ..transformers.checkpoints import tokenizer_in
    from ..transformers.seam import checked
    from .beside import beside

    if (prompt is None) == (tokens is None):
        raise click.UsageError("give one of --prompt TEXT and --tokens 5,9,12")
    checked()
    quiet()
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise FileError(
            f"accelerate: {folder} holds no config.json; give a folder that save_pretrained wrote"
        )
    model = checkpoint(folder)
    words = None if prompt is None else tokenizer_in("accelerate", folder, INSTEAD)
    ids = _numbers(tokens) if words is None else list(words(prompt)["input_ids"])
    _fit(ids, model, "--prompt" if words is not None else "--tokens")
    talk(f"{type(model).__name__}: {len(ids)} tokens of prompt, at most {new} new ones, in turn")
    found = beside(model, ids, new, rounds, folder)
    text = None if words is None else {way: words.decode(t) for way, t in found.tokens.items()}
    if as_json:
        print_json("trilby.accelerate/1", found.as_dict(text))
    else:
        screen = Screen()
        for spans in found.lines(text):
            screen.said(spans)
    ctx.exit(0 if found else 1)


def _numbers(tokens: str | None) -> list[int]:
    parts = [part.strip() for part in (tokens or "").split(",")]
    if not all(part.isdecimal() for part in parts):
        raise click.UsageError(f"--tokens is {tokens!r}, expected numbers like 5,9,12")
    return [int(part) for part in parts]


def _fit(ids: list[int], model: Any, option: str) -> None:
    """An error unless there are tokens and the model has an embedding for each."""
    size = model.config.get_text_config().vocab_size
    if not ids:
        raise click.UsageError(f"{option} has no tokens; give one at least")
    if max(ids) >= size:
        raise click.UsageError(
            f"{option} has the token {max(ids)}, and the vocabulary of the model ends at {size - 1}"
        )
