"""Writing and reading the content of a model file, without running anything in it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor

from ebsdsg_sim.atomic_file import write_atomically


class ModelFileError(ValueError):
    """A model file is missing, damaged, or not one of ours; the message says which."""


@contextmanager
def usable(path: Path) -> Iterator[None]:
    """Say of which file it is that something in it is missing, or does not fit.

    Raises
    ------
    ModelFileError
        For what reading the content of a file raises that is not what a model file holds.
    """
    try:
        yield
    except KeyError as error:
        raise ModelFileError(f"{path} is not a usable model: it has no entry {error}") from error
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        # torch lists every weight that does not fit: the first ones tell enough
        reason = shorten(str(error), 300, placeholder=" ...")
        raise ModelFileError(f"{path} is not a usable model: {reason}") from error


def write_content(content: Mapping[str, Any], path: Path) -> Path:
    """Write what a model file holds, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    write_atomically(path, buffer.getbuffer())
    return path


def read_content(path: str | Path) -> dict[str, Any]:
    """What a model file holds, read without running anything in it.

    Raises
    ------
    ModelFileError
        If the file is missing, damaged or no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelFileError(f"model file {path} does not exist")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:  # torch's own message advises to read it unsafely
        raise ModelFileError(
            f"{path} cannot be read as a model: it is not a model file, or holds more than "
            "weights; nothing in it was run"
        ) from error
    except Exception as error:  # torch raises many types for damaged files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelFileError(f"{path} cannot be read as a model: {reason}") from error
    if not isinstance(content, dict):
        raise ModelFileError(f"{path} is not an ebsdsg model")
    return content


def state_sha256(state: Mapping[str, Tensor]) -> str:
    """Digest of a state dictionary: names, types, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        array = tensor.detach().cpu().contiguous()
        digest.update(f"{name}{array.dtype}{tuple(array.shape)}".encode())
        digest.update(array.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
