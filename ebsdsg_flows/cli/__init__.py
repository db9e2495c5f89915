"""The command line; commands import what they need when they run, so ``--help`` is instant."""

from __future__ import annotations

import sys
from typing import Any

import typer
from typer.core import TyperGroup

from ebsdsg_flows.cli import (
    campaigns,
    cluster,
    database,
    datasets,
    engines,
    experimental,
    imports,
    models,
    patterns,
    structures,
    web,
)


class Interruptible(TyperGroup):
    """Commands whose interruption is said; typer's own ends without a word."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            print(
                "interrupted; nothing that was finished is lost, run the command again",
                file=sys.stderr,
            )
            raise typer.Exit(130) from None


app = typer.Typer(
    name="ebsdsg",
    cls=Interruptible,
    help="From a Materials Project query to a space-group classifier for EBSD patterns.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
imports.register(app)
campaigns.register(app)
patterns.register(app)
models.register(app)
engines.register(app)
cluster.register(app)
web.register(app)
app.add_typer(structures.app, name="structures")
app.add_typer(datasets.app, name="dataset")
app.add_typer(experimental.app, name="patterns")
app.add_typer(database.app, name="db")


def main() -> None:
    """Run the command line; an expected error is one line on stderr and exit code 1.

    An interruption (Ctrl-C) is one line, too, and exit code 130.
    """
    try:
        app()
    except Exception as error:
        from ebsdsg_flows.cli.errors import explain

        sys.exit(explain(error))


__all__ = ["app", "main"]
