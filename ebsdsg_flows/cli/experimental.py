"""Commands about experimental patterns: ``patterns import``, ``show`` and ``select``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Import experimental patterns of vendors' files, look at them, choose the best.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(help="Imported patterns: a file, or a key or its beginning.")]
Database = Annotated[
    bool, typer.Option("--database/--no-database", help="Record a document in the database.")
]


class Per(StrEnum):
    """From what the best are chosen."""

    PHASE = "phase"
    POOL = "pool"


@app.command("import")
def import_(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="h5oina, Bruker, EDAX or kikuchipy HDF5, up1, up2, ebsp, NORDIF, images; folders."
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write (HDF5).")
    ] = None,
    phase: Annotated[str, typer.Option(help="Material; wins over what the files say.")] = "",
    group: Annotated[
        int | None, typer.Option(min=1, max=230, help="Its true space group; wins likewise.")
    ] = None,
    relabelled: Annotated[
        int | None, typer.Option(min=1, max=230, help="Its group after disordering, if known.")
    ] = None,
    geometry: Annotated[
        Path | None, typer.Option(help="YAML file: pc, convention, tilt, voltage, ...")
    ] = None,
    source: Annotated[str, typer.Option(help="Where the patterns come from.")] = "",
    licence: Annotated[str, typer.Option(help="On what terms they may be used.")] = "",
    table: Annotated[
        Path | None, typer.Option(help="CSV: file, angles and numbers of every image.")
    ] = None,
    background: Annotated[
        Path | None, typer.Option(help="Image of the static background, if files hold none.")
    ] = None,
    scan: Annotated[str | None, typer.Option(help="Scan within an HDF5 file.")] = None,
    size: Annotated[int | None, typer.Option(min=16, help="Pixels per side (default 229).")] = None,
    processing: Annotated[
        Path | None, typer.Option(help="YAML file of the processing's steps.")
    ] = None,
    like: Annotated[
        str | None, typer.Option(help="Process as this data set (file or key) or model file is.")
    ] = None,
    quality_mask: Annotated[
        float | None,
        typer.Option(min=0.1, max=1.0, help="Radius of the circle whose quality is measured."),
    ] = None,
    database: Database = True,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Read patterns, correct their background, make them square, rate and store them."""
    from ebsdsg_flows.experimental import import_files, processing_of, read_settings
    from ebsdsg_ml.experimental.given import Given

    given = Given(
        phase=phase,
        space_group=group,
        relabelled=relabelled,
        geometry={} if geometry is None else read_settings(geometry, "geometry"),
        source=source,
        licence=licence,
        table=table,
        background=background,
    )
    import_files(
        files,
        output,
        given=given,
        processing=processing_of(size, processing, like),
        group=scan,
        quality_mask=quality_mask,
        database=database,
        quiet=quiet,
    )


@app.command()
def show(
    name: Name,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Picture (.png) or page (.html) to write.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Patterns in the picture.")] = 24,
    table: Annotated[bool, typer.Option("--table", help="A line for every pattern.")] = False,
) -> None:
    """Say what imported patterns are, and draw a contact sheet."""
    from ebsdsg_flows.experimental import show_set

    show_set(name, output, count, table=table)


@app.command()
def select(
    name: Name,
    best: Annotated[int, typer.Option(min=1, help="How many of the highest image quality.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write (HDF5).")],
    per: Annotated[Per, typer.Option(help="Of every phase, or of all together.")] = Per.PHASE,
    database: Database = True,
) -> None:
    """Choose the patterns of the highest image quality, such as the paper's 100 per phase."""
    from ebsdsg_flows.experimental import select_best

    select_best(name, output, best, per.value, database=database)
