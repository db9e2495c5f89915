"""``predict``, and the models that it uses: ``model show``, ``export`` and ``calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Models as files.", no_args_is_help=True)

WHICH = "Model file, campaign, or key of a training run or ensemble."
Model = Annotated[str, typer.Argument(help=WHICH)]


def register(root: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    root.command()(predict)
    root.add_typer(app, name="model")


def predict(
    patterns: Annotated[list[Path], typer.Argument(help="Pattern files or folders of them.")],
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help=WHICH),
    ] = None,
    grain: Annotated[
        str | None,
        typer.Option(help="Pool patterns of one grain: all, file, or a CSV table (file, grain)."),
    ] = None,
    dependence: Annotated[
        float, typer.Option(min=0, max=1, help="Correlation of the errors within a grain.")
    ] = 1.0,
    group: Annotated[str | None, typer.Option(help="Scan within an HDF5 file.")] = None,
    correct: Annotated[
        bool,
        typer.Option("--correct", help="Remove static and dynamic background of raw patterns."),
    ] = False,
    output: Annotated[
        list[Path] | None, typer.Option("--output", "-o", help="Write .csv, .json or .parquet.")
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw the answers (PNG).")] = None,
) -> None:
    """Name the space group of experimental patterns, with what the model does not know."""
    from ebsdsg_flows.prediction import predict_files

    code = predict_files(
        patterns,
        model,
        grain=grain,
        dependence=dependence,
        group=group,
        correct=correct,
        outputs=tuple(output or ()),
        picture=picture,
    )
    raise typer.Exit(code)


@app.command()
def show(model: Model) -> None:
    """Print what is known of a model."""
    from ebsdsg_flows.model_commands import show_model

    show_model(model)


@app.command()
def export(model: Model, output: Annotated[Path, typer.Argument(help="File to write.")]) -> None:
    """Write a run's model, or an ensemble, to one file."""
    from ebsdsg_flows.model_commands import export_model

    print(f"wrote {export_model(model, output)}")


@app.command()
def calibrate(
    model: Model,
    output: Annotated[Path, typer.Argument(help="Model file to write.")],
    dataset: Annotated[
        list[Path],
        typer.Option(help="Data set, or imported patterns (repeatable), of phases it never saw."),
    ],
    fold: Annotated[list[int] | None, typer.Option(help="Folds to use; all by default.")] = None,
    coverage: Annotated[
        float,
        typer.Option(help="Probability that a set holds the true group; c/(1 - c) phases or more."),
    ] = 0.9,
    risk: Annotated[
        float,
        typer.Option(
            help="Probability that a pattern gets a wrong answer; 1/risk - 1 phases or more."
        ),
    ] = 0.05,
    false_alarms: Annotated[
        float,
        typer.Option(help="Share of known patterns called unknown; 1/share - 1 phases or more."),
    ] = 0.05,
) -> None:
    """Calibrate a model or an ensemble on phases that it never saw."""
    from ebsdsg_flows.model_commands import calibrate_model

    calibrate_model(
        model,
        dataset,
        output,
        fold or None,
        coverage=coverage,
        risk=risk,
        false_alarms=false_alarms,
    )
