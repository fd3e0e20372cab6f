"""`trilby mix`: a mixer over a user's own file. Imports torch only when it runs."""

from typing import TYPE_CHECKING, Any

import click

from .keywords import WithKeywords
from .names import MixerName

if TYPE_CHECKING:
    from ..card import Mixer


@click.command(cls=WithKeywords)
@click.argument("mixer", type=MixerName())
@click.argument("source", metavar="IN")
@click.option(
    "-o", "--output", "out", metavar="OUT", required=True, help="Where to write the result."
)
@click.option("--form", help="The form to compute in; without it the best one for each block.")
@click.option("--state-in", metavar="FILE", help="Continue from the state in FILE.")
@click.option("--state-out", metavar="FILE", help="Write the state at the end to FILE.")
@click.option("--member", "--tensor", "member", help="Which array of an .npz or .safetensors.")
@click.option("--column", "columns", multiple=True, help="A column to mix; may be repeated.")
@click.option("--all-but", multiple=True, help="A column to leave out; may be repeated.")
@click.option("--keep", multiple=True, help="A column to copy as it is; may be repeated.")
@click.option("--index", help="As --keep, and it becomes the first column.")
@click.option("--skip-missing", is_flag=True, help="Skip missing values, column by column.")
@click.option("--sep", help="What separates cells, or tab.  [default: guessed from the header]")
@click.option("--decimal", help="The decimal point.  [default: .]")
@click.option("--thousands", help="What separates groups of three digits.")
@click.option("--quote", help="The quotation mark; '' for none.  [default: \"]")
@click.option("--comment", help="Leave out lines that begin with this.")
@click.option("--no-header", is_flag=True, help="The first line is data; columns are c0, c1, ...")
@click.option("--alphabet", help="The characters of a .txt, in order.  [default: those in it]")
@click.option("--block", type=click.IntRange(1), help="How many positions to hold at a time.")
def mix(mixer: "Mixer[..., Any]", source: str, out: str, **options: Any) -> None:
    """Run MIXER over the sequence in IN and write the result to OUT.

    IN is .csv, .tsv, .csv.gz, .tsv.gz, .parquet, .npy, .npz, .safetensors, .txt (every character
    is a position, one-hot), or - for csv on standard input, which is answered line by line. Arrays
    are [T], [T, C] or [B, T, C], of any length: one block at a time is in memory. OUT is any of
    these but .txt, or - for csv on standard output. It has the shape and the dtype of IN, integers
    become float64, and it is written completely or not at all.

    All columns of a table are mixed, unless --column or --all-but says otherwise. Columns of dates
    or names are copied with --keep or --index. A column without a name is kept, not mixed. One that
    has a name and looks like an index is mixed, and a message says so. A missing value is an error.
    With --skip-missing it does not change the state of its column, and the result of the row before
    is repeated, as pandas does. Missing is what pandas takes for it: an empty cell, NA, nan and
    others.

    A mixer of several sequences, such as decay, reads them from one .safetensors: a tensor
    [B, T, ...] for each argument by its name (q, k, v, g), and optionally documents [B, T]. OUT has
    the shape of the result. The state of --state-in belongs to the first document of each row.

    The parameters of a mixer are options, such as --a 0.9 and --adjust of ema. They are listed by
    trilby mix ema --help. Write one value for each channel with commas, or name a .npy file.

    OUT is put in place first, and the state of --state-out right after it. If the machine stops
    between the two, run the same command again. A process that is killed leaves OUT as it was and
    a temporary file named .OUT.trilby-XXXXXXXX.tmp beside it, which you can delete.

    torchrun --nproc-per-node 2 -m trilby mix mean IN -o OUT shares the file between processes. Each
    reads and writes its part, and takes the form shard. IN is then a .csv, .tsv, .npy or
    .safetensors, and OUT as well.
    """
    from .mixing import mix_file
    from .processes import processes
    from .sharedmix import mix_shared

    with processes("mix") as others:
        if others is None:
            click.echo(mix_file(mixer, source, out, **options), err=True)
        else:
            said = mix_shared(others, mixer, source, out, **options)
            if not others.rank:
                click.echo(said, err=True)
