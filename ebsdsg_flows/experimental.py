"""What ``ebsdsg patterns`` does: import, show and choose experimental patterns, with documents."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ebsdsg_flows.pattern_tables import print_set, print_table
from ebsdsg_flows.settings import get_settings
from ebsdsg_flows.yaml_file import read_entries

if TYPE_CHECKING:
    from ebsdsg_ml.experimental.given import Given
    from ebsdsg_ml.experimental.processing import PatternProcessing
    from stores.collections import Stores
    from stores.documents import ExperimentalPatternsDocument

FOLDER = "patterns"


class PatternCommandError(ValueError):
    """A file or an option given to ``ebsdsg patterns`` is not usable."""


def read_settings(path: Path, what: str) -> dict[str, Any]:
    """Entries of a YAML file.

    Parameters
    ----------
    path : file.
    what : it says, for messages.

    Raises
    ------
    PatternCommandError
        If the file is missing, is not YAML, or is not a mapping.
    """
    entries = f"the entries of the {what}, one per line"
    return read_entries(path, what, entries, PatternCommandError)


def processing_of(size: int | None, settings: Path | None, like: str | None) -> PatternProcessing:
    """Processing that the options of an import ask for.

    Parameters
    ----------
    size : pixels per side; None takes the data set's, or 229.
    settings : YAML file of processing steps.
    like : file or key of a simulated data set, or model file (.pt), whose corrections are followed.

    Raises
    ------
    PatternCommandError
        If two of them contradict each other.
    """
    from ebsdsg_ml.experimental.processing import PatternProcessing

    if settings is not None and like is not None:
        raise PatternCommandError("either --processing or --like, not both")
    if like is not None:
        if Path(like).suffix == ".pt":
            from ebsdsg_ml.ensemble_model import load_model

            card = load_model(like).card
            wanted = PatternProcessing.of_model(card.processing, card.preprocessing.size)
        else:
            from ebsdsg_flows.dataset_commands import open_named

            with open_named(like) as opened:
                wanted = PatternProcessing.like(opened.recipe)
        if size is not None and size != wanted.size:
            raise PatternCommandError(f"--size {size}: {like} has {wanted.size} pixels per side")
        return wanted
    values = {} if settings is None else read_settings(settings, "processing")
    if size is not None:
        if values.get("size", size) != size:
            raise PatternCommandError(f"--size {size}, but {settings} says {values['size']}")
        values["size"] = size
    return PatternProcessing.from_dict(values)


def import_files(
    files: list[Path],
    output: Path | None,
    *,
    given: Given,
    processing: PatternProcessing,
    group: str | None = None,
    quality_mask: float | None = None,
    database: bool = True,
    quiet: bool = False,
) -> None:
    """Import patterns, record them unless told not to, and say what they are.

    Parameters
    ----------
    files : files and folders.
    output : where the set is wanted; below the data root by default.
    given, processing, group, quality_mask : see
        :func:`ebsdsg_ml.experimental.read.import_patterns`.
    database : also keep the set below the data root, with a document.
    quiet : no progress bar.

    Raises
    ------
    PatternCommandError
        If the set would be kept nowhere.
    """
    import shutil
    import tempfile

    from rich.markup import escape
    from rich.progress import Progress

    from ebsdsg_ml.experimental.read import import_patterns
    from ebsdsg_sim.atomic_file import new_file

    if output is None and not database:
        raise PatternCommandError("--no-database needs --output FILE")
    if output is not None and output.suffix.lower() not in (".h5", ".hdf5"):
        raise PatternCommandError(f"--output {output}: give a name that ends in .h5")
    root = get_settings().root / FOLDER
    if database:
        root.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=root if database else None, prefix=".import-") as folder,
        Progress(disable=quiet) as bar,
    ):
        task = bar.add_task("patterns", total=None)

        def progress(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=escape(what))

        written = Path(folder) / "patterns.h5"
        held = import_patterns(
            files,
            written,
            processing=processing,
            given=given,
            group=group,
            quality_mask=quality_mask,
            progress=progress,
        )
        if output is not None:
            output.parent.mkdir(parents=True, exist_ok=True)
            with new_file(output) as temporary:
                shutil.copyfile(written, temporary)
        if database:
            from ebsdsg_flows.session import open_stores

            document = record(open_stores(), written)
            print(f"patterns {document.key}")
            print(f"picture  {get_settings().root / document.pictures[0].path}")
            output = output or get_settings().root / document.file.path
    print(f"file     {output}")
    print_set(held)


def record(stores: Stores, path: Path) -> ExperimentalPatternsDocument:
    """Keep a set of patterns below the data root, with a contact sheet, and write its document.

    Parameters
    ----------
    stores : open database.
    path : file of the set; it is moved if it lies below the data root, and copied otherwise.

    Returns
    -------
    The document; the one that exists if the same set was recorded before.
    """
    import shutil

    import numpy as np

    from ebsdsg_flows.datasets import reference
    from ebsdsg_ml.experimental.pattern_set import read_pattern_set
    from ebsdsg_ml.experimental.sheet import pattern_sheet, phase_summary, quality_summary
    from ebsdsg_ml.pattern_source import file_sha256
    from ebsdsg_sim.atomic_file import new_file
    from stores.documents import ExperimentalPatternsDocument, PatternPhase, PatternSource

    root = get_settings().root
    held = read_pattern_set(path)
    content = held.content_sha256()
    key = ExperimentalPatternsDocument.key_of(content)
    kept = root / FOLDER / f"{key}.h5"
    known = stores.get(ExperimentalPatternsDocument, key)
    if known is not None and kept.is_file() and file_sha256(kept) == known.file.sha256:
        return known
    kept.parent.mkdir(parents=True, exist_ok=True)
    picture = kept.with_suffix(".png")
    with new_file(kept) as temporary:
        shutil.copyfile(path, temporary)
    with new_file(picture) as temporary:
        pattern_sheet(kept).save(temporary, format="PNG")
    document = ExperimentalPatternsDocument(
        key=key,
        content_sha256=content,
        processing=held.processing,
        quality_definition=held.quality_definition,
        quality=quality_summary(held.quality),
        n_patterns=len(held),
        unlabelled=int((held.label == 0).sum()),
        with_geometry=int(np.isfinite(held.pc).all(axis=1).sum()),
        with_orientation=int(np.isfinite(held.quaternions).all(axis=1).sum()),
        phases=[PatternPhase(**row) for row in phase_summary(held)],
        sources=[PatternSource(**row) for row in held.sources],
        selection=held.selection,
        file=reference(kept, root, file_sha256(kept)),
        pictures=[reference(picture, root, file_sha256(picture))],
    )
    stores.save(document)
    return document


def set_path(name: str) -> Path:
    """File of a set of patterns by its path, or by its key or the beginning of it.

    Parameters
    ----------
    name : path or key.

    Raises
    ------
    PatternCommandError
        If no set, or more than one, is called so.
    """
    import re

    if Path(name).is_file():
        return Path(name)
    if re.fullmatch(r"[0-9a-f]{4,64}", name) is None:
        raise PatternCommandError(f"{name} is neither a file nor the key of a set of patterns")
    from ebsdsg_flows.session import open_stores

    found = list(
        open_stores()
        .experimental_patterns.find({"key": {"$regex": f"^{name}"}}, {"key": 1, "file": 1})
        .limit(2)
    )
    if len(found) != 1:
        raise PatternCommandError(
            f"{'more than one' if found else 'no'} set of patterns has a key beginning with {name}"
        )
    return get_settings().root / found[0]["file"]["path"]


def show_set(name: str, output: Path | None, count: int, *, table: bool = False) -> None:
    """Print what is in a set of patterns, and draw it.

    Parameters
    ----------
    name : file or key.
    output : picture (.png) or page (.html) to write.
    count : patterns drawn.
    table : also print a line for every pattern.

    Raises
    ------
    PatternCommandError
        If the output is neither a picture nor a page.
    """
    from ebsdsg_ml.experimental.pattern_set import read_pattern_set
    from ebsdsg_ml.experimental.sheet import pattern_page, pattern_sheet
    from ebsdsg_sim.atomic_file import new_file

    if output is not None and output.suffix.lower() not in (".png", ".html"):
        raise PatternCommandError(f"--output {output}: give a name that ends in .png or .html")
    path = set_path(name)
    held = read_pattern_set(path, patterns=False)
    print_set(held)
    if table:
        print_table(held)
    if output is None:
        return
    with new_file(output) as temporary:
        if output.suffix.lower() == ".html":
            temporary.write_text(pattern_page(path, count=count), encoding="utf-8")
        else:
            pattern_sheet(path, count=count).save(temporary, format="PNG")
    print(f"wrote {output}")


def select_best(name: str, output: Path, best: int, per: str, *, database: bool = True) -> None:
    """Write the patterns of the best quality to a set of their own.

    Parameters
    ----------
    name : file or key of a set.
    output : file to write.
    best : how many, of each phase or in all.
    per : ``"phase"`` or ``"pool"``.
    database : also record the choice.

    Raises
    ------
    PatternCommandError
        If patterns without a phase are to be chosen per phase.
    """
    from ebsdsg_ml.experimental.choice import best_by_quality
    from ebsdsg_ml.experimental.pattern_set import read_pattern_set, write_selection

    path = set_path(name)
    held = read_pattern_set(path, patterns=False)
    if per == "phase" and (unknown := int((held.phase < 0).sum())):
        raise PatternCommandError(
            f"{unknown} patterns have no phase: choose with --per pool, or import them with --phase"
        )
    if output.suffix.lower() not in (".h5", ".hdf5"):
        raise PatternCommandError(f"--output {output}: give a name that ends in .h5")
    groups = [f"{n} {label}" for n, label in zip(held.phase_names(), held.label, strict=True)]
    rows = best_by_quality(held.quality, best, groups if per == "phase" else None)
    output.parent.mkdir(parents=True, exist_ok=True)
    chosen = write_selection(path, output, rows, {"best": best, "per": per, "by": "quality"})
    if database:
        from ebsdsg_flows.session import open_stores

        print(f"patterns {record(open_stores(), output).key}")
    print(f"file     {output}")
    print_set(chosen)
