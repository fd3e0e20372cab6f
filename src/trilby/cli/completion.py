"""`trilby completion bash`: the script that completes commands and options."""

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that completes commands and options in SHELL.

    \b
    bash, zsh   eval "$(trilby completion bash)", in ~/.bashrc or ~/.zshrc
    fish        trilby completion fish > ~/.config/fish/completions/trilby.fish
    """
    from .group import trilby

    found = get_completion_class(shell)
    assert found is not None  # click ships all three
    click.echo(found(trilby, {}, "trilby", "_TRILBY_COMPLETE").source())
