"""Where things are and how much of the machine may be used: one settings object.

Read from environment variables ``EBSDSG_*`` and from ``~/.ebsdsg.yaml`` (or the file that
``EBSDSG_CONFIG_FILE`` names), in the manner of atomate2: environment first, then file, then the
defaults below.  The data root works like ``.git``: the nearest ``.ebsdsg`` folder at or above the
current directory, else a new one here.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from ebsdsg_flows.home import at_home
from ebsdsg_flows.settings_file import SettingsError, config_file, read_settings_file

__all__ = ["Settings", "SettingsError", "find_root", "get_settings", "load_settings"]

DATA_FOLDER = ".ebsdsg"


def find_root(start: Path | None = None) -> Path:
    """Nearest data folder at or above a directory, else the one that would be made there.

    Parameters
    ----------
    start : directory to search from; the current one by default.

    Returns
    -------
    Absolute path of the ``.ebsdsg`` folder; it need not exist yet.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / DATA_FOLDER).is_dir():
            return folder / DATA_FOLDER
    return here / DATA_FOLDER


class Settings(BaseSettings):
    """Settings of one user on one machine."""

    model_config = SettingsConfigDict(env_prefix="EBSDSG_", extra="forbid")

    root: Path = Field(
        default_factory=find_root,
        description="Data root: database, master patterns, data sets, models, reports.",
    )
    mongo_uri: str | None = Field(
        None,
        description="MongoDB URI; without one the embedded database of the data root is used.",
        repr=False,
    )
    mongo_user: str | None = Field(
        None, description="User of the MongoDB server, if it is not in the URI."
    )
    mongo_password: SecretStr | None = Field(None, description="Password of that user.")
    mongo_ca_file: Path | None = Field(
        None, description="PEM file of the authority that signed the server's certificate (TLS)."
    )
    mongo_certificate: Path | None = Field(
        None, description="PEM file with this client's certificate and key (TLS)."
    )
    mongo_certificate_password: SecretStr | None = Field(None, description="Password of that key.")
    database: str = Field("ebsdsg", description="Name of the database on the server.")
    mp_api_key: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("EBSDSG_MP_API_KEY", "MP_API_KEY", "mp_api_key"),
        description="Key for the Materials Project; also read from MP_API_KEY, the variable of its "
        "own client. Never stored, logged or shown.",
    )
    mp_endpoint: str = Field(
        "https://api.materialsproject.org/", description="Address of the Materials Project."
    )
    mp_timeout: float = Field(
        60.0, gt=0, description="Seconds that one answer of the Materials Project may take."
    )
    mp_retries: int = Field(
        4, ge=0, description="Further attempts at a request of the Materials Project that failed."
    )
    device: str = Field("cpu", description="Torch device of simulations and training.")
    threads: int = Field(1, ge=1, description="CPU threads of one worker process.")
    memory: float | None = Field(
        default=None,
        gt=0,
        description="GiB that the simulation of one worker may take; without it half of what is "
        "free, shared out among the workers.",
    )
    workers: int = Field(
        default_factory=lambda: max(1, os.cpu_count() or 1),
        ge=1,
        description="Worker processes started by `ebsdsg run`.",
    )
    heartbeat: float = Field(
        10.0, gt=0, description="Seconds between the signs of life of a running simulation."
    )
    emsoft_path: Path | None = Field(
        None,
        description="EMsoft's installation folder (`opencl/`, `resources/`); default: the "
        "variable EMSOFTPATHNAME or EMsoft's own configuration file.",
    )
    emsoft_bin: Path | None = Field(
        None, description="Folder of EMsoft's programs; default: `bin` of its folder, then PATH."
    )
    emsoft_platform: int = Field(1, ge=1, description="OpenCL platform of EMMCOpenCL, from 1.")
    emsoft_device: int = Field(1, ge=1, description="GPU of that platform, from 1.")
    emsoft_threads: int | None = Field(
        None, ge=1, description="Threads of EMEBSDmaster; default: the queue's, then `threads`."
    )
    emsoft_walltime: float = Field(
        12.0, gt=0, description="Hours that one stage of an EMsoft simulation may take."
    )
    emsoft_stall: float = Field(
        1800.0, gt=0, description="Seconds without processor time after which a program has hung."
    )
    emsoft_grace: float = Field(
        20.0, gt=0, description="Seconds between SIGTERM and SIGKILL for a program that must end."
    )
    findsym: Path | None = Field(
        None,
        description="FINDSYM's program, for campaigns with `structures.origin: findsym`; default: "
        "`findsym` on PATH.",
    )
    disk_reserve: float = Field(
        5.0, ge=0, description="GiB that should be free below the data root; see `ebsdsg doctor`."
    )
    web_token: SecretStr | None = Field(
        None,
        description="Secret that allows actions on the pages of `ebsdsg web`, and any address but "
        "this machine's own; at least 16 characters. Without it the pages are read-only.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "WARNING", description="Level of FireWorks' messages in the logs of the workers."
    )

    @property
    def database_uri(self) -> str | None:
        """URI with user, password and TLS options; ``None`` means the embedded database.

        It is a secret: never log or store it.

        Raises
        ------
        SettingsError
            If the parts do not go together or a file is missing.
        """
        from stores.mongo_uri import MongoURIError, compose

        if self.mongo_uri is None:
            return None
        try:
            return compose(
                self.mongo_uri,
                user=self.mongo_user,
                password=_revealed(self.mongo_password),
                ca_file=self.mongo_ca_file,
                certificate=self.mongo_certificate,
                certificate_password=_revealed(self.mongo_certificate_password),
            )
        except MongoURIError as error:
            raise SettingsError(str(error)) from None

    @property
    def memory_bytes(self) -> int:
        """Bytes that the simulation of one worker may take.

        Raises
        ------
        ebsdsg_sim.memory.MemoryBudgetError
            If nothing is set and the system does not say how much is free.
        ebsdsg_sim.device.DeviceError
            If nothing is set and torch cannot compute on the device.
        """
        if self.memory is not None:
            return round(self.memory * 2**30)
        from ebsdsg_sim.memory import memory_budget

        return memory_budget(device=self.device) // self.workers

    @field_validator("root")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return at_home(value).resolve()

    @field_validator("device")
    @classmethod
    def _names_a_device(cls, value: str) -> str:
        # whether this machine has it is found out where it is used, by loading torch
        if not re.fullmatch(r"cpu|cuda(:\d+)?", value):
            raise ValueError(
                f"{value!r} is not a device: it must be cpu, cuda, or one GPU as in cuda:1"
            )
        return value

    @field_validator("emsoft_path", "emsoft_bin")
    @classmethod
    def _absolute_if_given(cls, value: Path | None) -> Path | None:
        # programs run in folders of their own, from which a relative name leads nowhere
        return None if value is None else at_home(value).absolute()

    @field_validator("findsym")
    @classmethod
    def _at_home(cls, value: Path | None) -> Path | None:
        return None if value is None else at_home(value)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order of the sources: arguments, environment, settings file."""
        return (
            init_settings,
            env_settings,
            InitSettingsSource(settings_cls, read_settings_file()),
        )


def _revealed(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def load_settings(**overrides: Any) -> Settings:
    """Settings of this process.

    Parameters
    ----------
    **overrides : values that win over environment and file; ``None`` means not given.

    Raises
    ------
    SettingsError
        If a value is wrong, or the settings file is not there, is none or has an unknown key.
    """
    try:
        return Settings(**{k: v for k, v in overrides.items() if v is not None})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        known = ", ".join(Settings.model_fields)
        file = config_file() or "~/.ebsdsg.yaml"
        raise SettingsError(
            f"setting {where!r} (environment EBSDSG_{where.upper()} or {file}): "
            f"{first['msg'].removeprefix('Value error, ')}; known settings: {known}"
        ) from None


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Settings of this process, read once."""
    return load_settings()
