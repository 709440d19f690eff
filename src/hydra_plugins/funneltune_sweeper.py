"""Hydra's door to funneltune's studies. Hydra loads sweepers from this namespace package only; the work is done there.

Imported whenever Hydra starts in this environment, so it imports no more than Hydra itself.
"""

from __future__ import annotations

from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

# A plain mapping: Hydra executes this file before it is in sys.modules, where a dataclass would look for its types.
ConfigStore.instance().store(
    group="hydra/sweeper",
    name="funneltune",
    node={"_target_": "hydra_plugins.funneltune_sweeper.FunneltuneSweeper"},
    provider="funneltune",
)


class FunneltuneSweeper(Sweeper):
    """Hands a study's open cells to the configured launcher."""

    def __init__(self) -> None:
        super().__init__()
        self.config: DictConfig | None = None
        self.hydra_context: HydraContext | None = None
        self.launcher: Launcher | None = None
        self.task: Any = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what `sweep` needs, as Hydra's own sweepers do."""
        self.config, self.hydra_context, self.task = config, hydra_context, task_function
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Run the study."""
        from funneltune.experiments import sweep

        assert self.config is not None
        assert self.hydra_context is not None
        assert self.launcher is not None
        sweep(arguments, self.config, self.hydra_context, self.launcher, self.task)
