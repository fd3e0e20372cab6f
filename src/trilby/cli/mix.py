"""`trilby mix`: a mixer over a user's own file. Loads torch when it runs, not when it is named."""

from typing import TYPE_CHECKING, Any

import click

from .keywords import WithKeywords
from .names import MixerName

if TYPE_CHECKING:
    from ..card import Mixer


@click.command(cls=WithKeywords)
@click.argument("mixer", type=MixerName())
@click.argument("source", metavar="IN")
@click.option("-o", "--output", "out", metavar="OUT", required=True, help="Where the result goes.")
@click.option("--form", help="The form to compute in; without it the best one for each block.")
@click.option("--state-in", metavar="FILE", help="Go on where the stream that left FILE ended.")
@click.option("--state-out", metavar="FILE", help="Leave the state at the end in FILE.")
@click.option("--member", "--tensor", "member", help="Which array of an .npz or .safetensors.")
@click.option("--column", "columns", multiple=True, help="A column of a csv; may be repeated.")
@click.option("--skip-missing", is_flag=True, help="Leave out csv lines with a missing value.")
@click.option("--alphabet", help="The characters of a .txt in order; else those that it has.")
@click.option("--block", type=click.IntRange(1), help="How many positions to hold at a time.")
def mix(mixer: "Mixer[..., Any]", source: str, out: str, **options: Any) -> None:
    """Run MIXER over the sequence in IN and write the result to OUT.

    IN is .npy, .npz, .safetensors, .csv with a header line, .txt (every character one position,
    one-hot), or - for csv on standard input. Arrays are [T], [T, C] or [B, T, C], of any length:
    one block is held at a time. OUT is .npy, .npz, .safetensors or .csv, or - for csv on standard
    output; it has the shape and the dtype of IN and appears whole or not at all.

    A mixer of several sequences, such as decay, takes them from one .safetensors: a tensor
    [B, T, ...] for each argument by its name (q, k, v, g), and documents [B, T] if wanted. OUT has
    the shape of the result. The state of --state-in enters the first document of each row.

    The parameters of a mixer are options by their names, such as --a 0.9 and --adjust of ema;
    trilby mix ema --help lists them. One for each channel is written with commas, or is a .npy.

    OUT appears first, the state of --state-out right after it: should the machine stop between the
    two, the same command run again puts both right. A process that is killed leaves OUT as it was
    and a temporary file named .OUT.trilby-XXXXXXXX.tmp beside it, which can be deleted.
    """
    from .mixing import mix_file

    click.echo(mix_file(mixer, source, out, **options), err=True)
