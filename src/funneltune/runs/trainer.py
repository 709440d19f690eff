"""Lightning's trainer as runs use it: what ends it from outside its code is told in one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import lightning as L
from omegaconf import DictConfig

from funneltune.callbacks import LastBatch
from funneltune.data.loaders import ResumableLoader
from funneltune.errors import FunnelError, LostProcessError, is_out_of_memory
from funneltune.runs.out_of_memory import no_memory
from funneltune.runs.ranks import TIMEOUT, lost_rank, watch_over, watched

DOING = {"fit": "training", "validate": "validation", "test": "the test", "predict": "prediction"}


class RunTrainer(L.Trainer):
    """Lightning's trainer. A loader's worker or a rank that dies, and memory that is not there, become errors of ours.

    Args:
        cfg: The run's config.
        rank_timeout: Seconds that a rank waits for the others.
        callbacks: Lightning's.
        arguments: Lightning's.
    """

    def __init__(
        self, cfg: DictConfig, *, rank_timeout: float = TIMEOUT, callbacks: Sequence[L.Callback], **arguments: Any
    ) -> None:
        self._cfg, self._rank_timeout, self._at = cfg, rank_timeout, LastBatch()
        super().__init__(callbacks=[self._at, *callbacks], **arguments)
        watch_over(self, rank_timeout)

    def fit(self, *arguments: Any, **keywords: Any) -> None:
        """Lightning's.

        Raises:
            FailedRunError: as `told`.
        """
        with self.told():
            super().fit(*arguments, **keywords)

    def validate(self, *arguments: Any, **keywords: Any) -> Any:
        """Likewise."""
        with self.told():
            return super().validate(*arguments, **keywords)

    def test(self, *arguments: Any, **keywords: Any) -> Any:
        """Likewise."""
        with self.told():
            return super().test(*arguments, **keywords)

    def predict(self, *arguments: Any, **keywords: Any) -> Any:
        """Likewise."""
        with self.told():
            return super().predict(*arguments, **keywords)

    @contextmanager
    def told(self, give_up: Callable[[LostProcessError], None] | None = None) -> Iterator[None]:
        """Where ranks work together: an error that comes from outside the code becomes one line.

        `give_up` is called before this process is killed, because a rank died and it waits for it.

        Raises:
            LostProcessError: if a loader's worker or a rank died or hangs.
            NoMemoryError: if a batch did not fit into memory.
        """
        try:
            if give_up is None:
                yield
            else:
                with watched(self, give_up):
                    yield
        except FunnelError:
            raise
        except Exception as error:
            found = self._meaning(error)
            if found is None:
                raise
            raise found from error

    def _meaning(self, error: Exception) -> FunnelError | None:
        if is_out_of_memory(error):
            below = getattr(getattr(self.lightning_module, "encoder", None), "boundary", 0) > 0
            return no_memory(error, self._cfg, doing=self._doing(), batch=self._at.in_words(), frozen_below=below)
        loader = self.train_dataloader
        if isinstance(loader, ResumableLoader) and (worker := loader.lost(error)) is not None:
            return worker
        return lost_rank(error, self, self._rank_timeout)

    def _doing(self) -> str:
        fn = str(self.state.fn.value) if self.state.fn is not None else ""
        if fn != "fit" or self._at.validating:
            return DOING.get(fn, "") if fn != "fit" else DOING["validate"]
        return f"{DOING[fn]}, step {self.global_step}"
