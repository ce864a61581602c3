"""Where data lives, which database and executor, and the coefficients of the modelled energy source.

Environment variables (``TRILEMMA_HOME``, ``TRILEMMA_MODELS``, ``TRILEMMA_DATABASE`` ...) come first, then
``config.toml`` in the home folder, then the defaults.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from tempfile import TemporaryFile

import platformdirs
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from trilemma.errors import SettingsError, StoreError
from trilemma.logs import Format
from trilemma.needs import MACHINE_NAME


def default_home() -> Path:
    """The data folder: ``TRILEMMA_HOME``, else the platform's folder for application data."""
    return Path(os.environ.get("TRILEMMA_HOME") or platformdirs.user_data_dir("trilemma")).expanduser().absolute()


class Settings(BaseSettings):
    """The settings of one process.

    The default coefficients of the modelled energy source are round figures for a server core under load (10 W) and
    the 0.3725 W per GB of memory of Lannelongue et al., "Green Algorithms", Advanced Science 8 (2021), 2100707.
    """

    model_config = SettingsConfigDict(
        env_prefix="TRILEMMA_",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,  # a mistyped key may hold a password
    )

    home: Path = Field(default_factory=default_home)
    models: Path | None = Field(default=None, description="A folder of weights to list in the catalog.")
    database: str = Field(default="", repr=False, description="A SQLAlchemy URL; empty for SQLite in the home folder.")
    database_patience_s: float = Field(
        default=600.0, ge=0, description="How long a run that is over waits for a database that is away, s."
    )
    device: str = Field(
        default="local",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$",
        description="This machine's name in the queue; of its own on each machine that shares a database.",
    )
    executor: str = Field(default="local", description="What runs the queue's jobs.")
    ray_address: str = Field(default="", description="HOST:PORT of a Ray cluster, whose machines then run the jobs.")
    ray_token_file: Path | None = Field(default=None, description="The secret that lets machines into that cluster.")
    artifacts_url: str = Field(
        default="", repr=False, description="A folder or fsspec URL through which machines share weights."
    )
    machine: str = Field(default="", pattern=rf"^$|{MACHINE_NAME}", description="What this machine is called.")
    slots: int = Field(default=1, ge=1, le=64, description="How many runs this machine measures at the same time.")
    sample_hz: float = Field(default=10.0, gt=0, le=100)
    idle_s: float = Field(default=3.0, ge=0, description="How long idle power and CPU are read before a run.")
    watts_per_busy_core: float = Field(default=10.0, ge=0)
    watts_per_gb: float = Field(default=0.3725, ge=0)
    allow_shared_gpu: bool = Field(
        default=False, description="Whether a run may go on while others use its GPU; it is then flagged as disturbed."
    )
    allow_paths: bool = Field(default=True, description="Whether pages may add weights by a path on this machine.")
    log_format: Format = Field(default="text", description="How a worker logs: text, or a line of JSON each.")
    allow_anyone: bool = Field(
        default=False, description="Whether a dashboard without log-in may listen to the network."
    )
    sample: bool = Field(default=True, description="Whether `trilemma serve` gives an empty store the sample study.")

    @field_validator("home", "models", "ray_token_file")
    @classmethod
    def _is_absolute(cls, path: Path | None) -> Path | None:
        """What was meant from where the first process was started holds for those that it starts elsewhere."""
        return None if path is None else path.expanduser().absolute()

    @field_validator("database")
    @classmethod
    def _names_an_absolute_file(cls, url: str) -> str:
        scheme, found, path = url.partition(":///")
        return f"{scheme}:///{Path(path).absolute()}" if found and scheme.startswith("sqlite") and path else url

    @field_validator("device")
    @classmethod
    def _is_not_reserved(cls, device: str) -> str:
        if device == "sample" or device.startswith(("imported:", "tool:")):  # see trilemma/records.py
            raise ValueError("this name is kept for what was measured elsewhere")
        return device

    @property
    def database_url(self) -> str:
        """The SQLAlchemy URL of the store."""
        return self.database or f"sqlite:///{self.home / 'trilemma.db'}"

    @property
    def shares_database(self) -> bool:
        """Whether other machines may use the same database."""
        return not self.database_url.startswith("sqlite")

    @property
    def executor_name(self) -> str:
        """What runs the queue's jobs: Ray where a cluster is named, unless something else is asked for."""
        return "ray" if self.ray_address and self.executor == "local" else self.executor

    @property
    def ray_token_path(self) -> Path:
        """Where the secret is that lets machines into the Ray cluster."""
        return self.ray_token_file or self.home / "ray-token"

    @property
    def artifacts_dir(self) -> Path:
        """Where weights that Trilemma makes or downloads are written."""
        return self.home / "artifacts"

    @property
    def logs_dir(self) -> Path:
        """Where each run's log is written."""
        return self.home / "logs"

    @property
    def traces_dir(self) -> Path:
        """Where recorded traces are kept, each under its hash."""
        return self.home / "traces"

    @property
    def dashboards_dir(self) -> Path:
        """Where each dashboard says that it is there."""
        return self.home / "dashboards"

    @property
    def questions_dir(self) -> Path:
        """Where files of the user's own questions are kept, each under its hash."""
        return self.home / "questions"

    def ensure_home(self) -> Path:
        """Create the data folders.

        Raises:
            StoreError: the folder cannot be written.
        """
        try:
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)  # prompts and answers are in it
            for folder in (self.artifacts_dir, self.logs_dir):
                folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=self.home):  # a name of its own: several processes start at once
                pass
        except OSError as error:
            raise StoreError(
                f"The data folder {self.home} cannot be written ({error.strerror}).",
                "Set TRILEMMA_HOME to a folder that you may write to, or change its permissions.",
            ) from error
        return self.home

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then ``config.toml``."""
        toml = TomlConfigSettingsSource(settings_cls, default_home() / "config.toml")
        return init_settings, env_settings, toml


@functools.lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process, read once.

    Raises:
        SettingsError: a value is of the wrong type or a key is unknown.
    """
    try:
        return Settings()
    except (ValidationError, ValueError) as error:
        raise SettingsError(
            f"The settings cannot be read: {error}", f"Mend {default_home() / 'config.toml'} or the environment."
        ) from error
