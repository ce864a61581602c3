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
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from trilemma.errors import SettingsError, StoreError
from trilemma.needs import MACHINE_NAME


def default_home() -> Path:
    """The data folder: ``TRILEMMA_HOME``, else the platform's folder for application data."""
    return Path(os.environ.get("TRILEMMA_HOME") or platformdirs.user_data_dir("trilemma")).expanduser()


class Settings(BaseSettings):
    """The settings of one process.

    The default coefficients of the modelled energy source are round figures for a server core under load (10 W) and
    the 0.3725 W per GB of memory of Lannelongue et al., "Green Algorithms", Advanced Science 8 (2021), 2100707.
    """

    model_config = SettingsConfigDict(env_prefix="TRILEMMA_", extra="forbid", frozen=True)

    home: Path = Field(default_factory=default_home)
    models: Path | None = Field(default=None, description="A folder of weights to list in the catalog.")
    database: str = Field(default="", description="A SQLAlchemy URL; empty for SQLite in the home folder.")
    executor: str = Field(default="local", description="What runs the queue's jobs.")
    ray_address: str = Field(default="", description="HOST:PORT of a Ray cluster, whose machines then run the jobs.")
    artifacts_url: str = Field(default="", description="A folder or fsspec URL through which machines share weights.")
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
    sample: bool = Field(default=True, description="Whether `trilemma serve` gives an empty store the sample study.")

    @property
    def database_url(self) -> str:
        """The SQLAlchemy URL of the store."""
        return self.database or f"sqlite:///{self.home / 'trilemma.db'}"

    @property
    def executor_name(self) -> str:
        """What runs the queue's jobs: Ray where a cluster is named, unless something else is asked for."""
        return "ray" if self.ray_address and self.executor == "local" else self.executor

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
    def questions_dir(self) -> Path:
        """Where files of the user's own questions are kept, each under its hash."""
        return self.home / "questions"

    def ensure_home(self) -> Path:
        """Create the data folders.

        Raises:
            StoreError: the folder cannot be written.
        """
        try:
            for folder in (self.home, self.artifacts_dir, self.logs_dir):
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
