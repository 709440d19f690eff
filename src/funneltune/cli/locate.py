"""Where the packaged configs lie."""

from __future__ import annotations

from pathlib import Path

from funneltune.errors import ConfigError

PRIMARY = "train"


def config_root() -> Path:
    """Folder of the packaged configs: inside the package where it was installed from a wheel, else the repository's.

    Raises:
        ConfigError: if neither is there (a broken installation).
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "configs", package.parents[1] / "configs"):
        if (folder / f"{PRIMARY}.yaml").is_file():
            return folder
    raise ConfigError(f"configs/{PRIMARY}.yaml is missing beside {package}; install funneltune again.")
