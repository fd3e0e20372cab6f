"""`trilby completion bash`: the script that completes commands and options."""

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes commands and options in SHELL.

    \b
    bash, zsh   eval "$(trilby completion bash)"
                in ~/.bashrc or ~/.zshrc
    fish        trilby completion fish | source
                in ~/.config/fish/config.fish
    """
    found = get_completion_class(shell)
    assert found is not None  # click ships all three
    click.echo(found(ctx.find_root().command, {}, "trilby", "_TRILBY_COMPLETE").source())
