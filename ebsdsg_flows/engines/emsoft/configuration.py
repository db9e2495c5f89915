"""Where EMsoft is, and the folders and environment of one run.

Every run has folders of its own, named to EMsoft by environment variables (which win over its
configuration file), so that runs side by side never share a file.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ebsdsg_flows.engines.emsoft.failures import CONFIGURATION, MISSING_PROGRAM
from ebsdsg_flows.home import HomeError, at_home

if TYPE_CHECKING:
    from ebsdsg_flows.settings import Settings

RESOURCES = ("opencl", "resources/RandomSeeds.data", "resources/templatecodes.txt")
LONGEST_FOLDER = 400
"""Bytes; EMsoft keeps file names in 512 of them and cuts longer ones without a word."""


@dataclass(frozen=True)
class Installation:
    """An EMsoft installation.

    Parameters
    ----------
    folder : holds ``opencl`` and ``resources``.
    programs : folder searched for programs before PATH, if there is one.
    """

    folder: Path
    programs: Path | None = None

    @classmethod
    def find(cls, settings: Settings) -> Installation:
        """The installation of the settings, of ``EMSOFTPATHNAME`` or of EMsoft's own file.

        Raises
        ------
        EngineFailure
            If none is named, EMsoft would cut its name, or it lacks what EMsoft reads at run time.
        """
        folder = settings.emsoft_path or _from_environment() or _from_configuration_file()
        if folder is None:
            raise CONFIGURATION.failure(
                "no EMsoft installation is named; set EBSDSG_EMSOFT_PATH to its folder"
            )
        _check_length(folder, "EMsoft's folder has too long a name")
        missing = [name for name in RESOURCES if not (folder / name).exists()]
        if missing:
            raise CONFIGURATION.failure(
                f"{folder} lacks {', '.join(missing)}; set EBSDSG_EMSOFT_PATH to EMsoft's folder"
            )
        programs = settings.emsoft_bin or folder / "bin"
        return cls(folder, programs if programs.is_dir() else None)

    def program(self, name: str) -> str:
        """Full path of a program.

        Raises
        ------
        EngineFailure
            If it is not there or not executable.
        """
        path = os.environ.get("PATH", os.defpath)
        if self.programs is not None:
            path = f"{self.programs}{os.pathsep}{path}"
        found = shutil.which(name, path=path)
        if found is None:
            raise MISSING_PROGRAM.failure(
                f"{name} is neither in {self.programs or 'EMsoft’s bin'} nor on PATH; "
                "set EBSDSG_EMSOFT_BIN to the folder of EMsoft's programs"
            )
        return found


@dataclass(frozen=True)
class RunFolder:
    """Folders of one run: data, crystal files, temporary files; namelists and logs beside them.

    Parameters
    ----------
    path : of the run.
    """

    path: Path

    @classmethod
    def make(cls, path: Path) -> RunFolder:
        """Make the folders.

        Raises
        ------
        EngineFailure
            If EMsoft would cut the name.
        """
        _check_length(path, "the data root is too deep")
        folder = cls(path)
        for part in (folder.data, folder.crystals, folder.temporary):
            part.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def data(self) -> Path:
        """Folder of the data files."""
        return self.path / "data"

    @property
    def crystals(self) -> Path:
        """Folder of the crystal files."""
        return self.path / "xtal"

    @property
    def temporary(self) -> Path:
        """Folder of EMsoft's temporary files."""
        return self.path / "tmp"

    def environment(self, installation: Installation, threads: int = 1) -> dict[str, str]:
        """Complete environment of a program of this run.

        Parameters
        ----------
        installation : of EMsoft.
        threads : OpenMP's limit; EMEBSDmaster itself goes by its namelist.
        """
        return {
            **os.environ,
            "EMSOFTPATHNAME": f"{installation.folder}/",
            "EMXTALFOLDERPATHNAME": f"{self.crystals}/",
            "EMDATAPATHNAME": f"{self.data}/",
            "EMTMPPATHNAME": f"{self.temporary}/",
            "GFORTRAN_UNBUFFERED_ALL": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": str(threads),
        }


def _check_length(path: Path, what: str) -> None:
    """Refuse a folder whose name EMsoft would cut; what counts are bytes, two for an umlaut."""
    if (length := len(os.fsencode(path))) > LONGEST_FOLDER:
        raise CONFIGURATION.failure(
            f"{what}: {path} has {length} bytes, EMsoft can do with {LONGEST_FOLDER}"
        )


def _from_environment() -> Path | None:
    named = os.environ.get("EMSOFTPATHNAME")
    return _folder(named, "EMSOFTPATHNAME") if named else None


def _from_configuration_file() -> Path | None:
    path = own_configuration()
    if path is None:
        return None
    try:
        named = json.loads(path.read_text(encoding="utf-8", errors="replace"))["EMsoftpathname"]
        if not isinstance(named, str):
            raise TypeError("a folder is text")
    except (ValueError, KeyError, TypeError):
        raise CONFIGURATION.failure(f"{path} is not readable as EMsoft's configuration") from None
    return _folder(named, f"{path}: EMsoftpathname")


def own_configuration() -> Path | None:
    """EMsoft's own configuration file of this user, if there is one."""
    try:
        path = at_home("~/.config/EMsoft/EMsoftConfig.json")
    except HomeError:  # a user without a home
        return None
    return path if path.is_file() else None


def _folder(named: str, where: str) -> Path:
    try:
        return at_home(named).absolute()
    except HomeError as error:
        raise CONFIGURATION.failure(f"{where} = {error}") from None


def threads_of(settings: Settings) -> int:
    """Threads for EMEBSDmaster: the settings', the queue's, or those of a worker."""
    if settings.emsoft_threads is not None:
        return settings.emsoft_threads
    allocated = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return int(allocated) if allocated.isdigit() and int(allocated) > 0 else settings.threads
