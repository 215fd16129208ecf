"""What stands under ``deploy/``, read."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import yaml

from mintmark.cli.main import cli
from mintmark.config import Settings, load

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"


def documents(path: Path) -> list[dict[str, Any]]:
    """Return what is in a YAML file."""
    return [document for document in yaml.safe_load_all(path.read_text()) if document is not None]


def accepted(environment: Mapping[str, str], secrets: Mapping[str, str], folder: Path) -> Settings:
    """Return the settings that a container with these variables has.

    Args:
        environment: Of the container.
        secrets: What is in each file that is mounted, by its path there.
        folder: Takes such files.
    """
    ours = {name: value for name, value in environment.items() if name.startswith("MINTMARK_")}
    for name, value in ours.items():
        if name.endswith("_FILE"):
            file = folder / value.rpartition("/")[2]
            file.write_text(secrets[value])
            file.chmod(0o400)
            ours[name] = str(file)
    return load(environ=ours)


def is_understood(arguments: list[str]) -> bool:
    """Tell whether this command line means something to `mintmark`; it is not carried out."""
    name, *rest = arguments
    # As the parent that it has when it is called: a command keeps the help option of its first context.
    whole = click.Context(cli, info_name="mintmark", **cli.context_settings)
    command = cli.get_command(whole, name)
    assert command is not None, name
    command.make_context(name, rest, parent=whole)
    return True


def is_pinned(image: str) -> bool:
    """Tell whether an image is named by a version."""
    name, _, tag = image.rpartition(":")
    return bool(name) and re.fullmatch(r"v?[0-9]+(\.[0-9]+)*(-[a-z0-9.-]+)?", tag) is not None
