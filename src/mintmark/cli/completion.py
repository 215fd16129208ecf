"""``mintmark completion``: the script that completes commands in a shell."""

import click
from click.shell_completion import get_completion_class

from mintmark.cli.parameters import example


@click.command(
    "completion",
    epilog=example(
        "mkdir -p ~/.local/share/bash-completion/completions",
        "mintmark completion bash > ~/.local/share/bash-completion/completions/mintmark",
        "",
        "mkdir -p ~/.zfunc",
        "mintmark completion zsh > ~/.zfunc/_mintmark",
        "echo 'fpath=(~/.zfunc $fpath); autoload -Uz compinit; compinit' >> ~/.zshrc",
        "",
        "mkdir -p ~/.config/fish/completions",
        "mintmark completion fish > ~/.config/fish/completions/mintmark.fish",
    ),
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the script that completes mintmark's commands in a shell."""
    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(ctx.find_root().command, {}, "mintmark", "_MINTMARK_COMPLETE").source())
