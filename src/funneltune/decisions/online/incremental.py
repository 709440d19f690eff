"""The run goes on learning: a few steps on its tuned weights whenever rows have come in, old rows replayed."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from funneltune.decisions.online.shop import Shop, labels_of
from funneltune.decisions.online.stream import Arrivals, Floats, Integers, Page, best_places
from funneltune.decisions.scorer import Scorer
from funneltune.errors import ConfigError
from funneltune.modules.schedule import split_by_decay
from funneltune.runs import load, scalings_of
from funneltune.schema import Batch


class Incremental:
    """Ranks by weights that move: of the backbone what the run tuned (LoRA, adapters, ...), and what stands above it.

    After every block it takes `steps` optimizer steps of the run's own optimizer, at `rate` times its learning rates,
    on requests drawn from the last `recent`; each step's loss is that of the new rows plus `replay` times that of as
    many rows of the training log. Tuning methods that change their shape while they train keep the one they ended with.

    Args:
        run: The run's folder; it is left as it is.
        shop: Where requests come from.
        rate: Times the run's learning rates.
        steps: Per block.
        requests: Per step.
        recent: Requests that are kept to draw from.
        replay: Weight of the old rows' loss.
        seed: Of draws.

    Raises:
        ConfigError: if an argument is out of range, or the objective asks for a column that new rows do not have.
    """

    def __init__(
        self,
        run: Path,
        shop: Shop,
        *,
        rate: float = 0.3,
        steps: int = 2,
        requests: int = 10,
        recent: int = 200,
        replay: float = 0.5,
        seed: int = 0,
    ) -> None:
        if not rate > 0:
            raise ConfigError(f"rate={rate} must be > 0, times the run's learning rates.")
        if steps < 1 or requests < 1 or recent < 1:
            raise ConfigError(f"steps={steps}, requests={requests} and recent={recent} must be >= 1.")
        if not replay >= 0:
            raise ConfigError(f"replay={replay} must be >= 0, the weight of the old rows' loss.")
        self.shop, self.rate, self.steps, self.requests = shop, rate, steps, requests
        self.recent, self.replay = recent, replay
        assembly = load(run)
        self.tuned = [name for name, p in assembly.module.named_parameters() if p.requires_grad]
        self.scorer = Scorer(assembly, scalings_of(run), run)
        self.module = self.scorer.module
        named = dict(self.module.named_parameters())
        for name in self.tuned:
            named[name].requires_grad_(True)
        self._start = {name: named[name].detach().clone() for name in self.tuned}
        missing = set(self.module.objective.needs.columns) - {"position", "propensity"}
        if missing:
            raise ConfigError(
                f"objective asks for {min(missing)!r}, which rows that come in online do not have; leave incremental "
                "out of policies, or train with another objective."
            )
        self.begin(seed)

    def begin(self, seed: int) -> None:
        """Back to the run's own weights, with an optimizer that has seen nothing."""
        named = dict(self.module.named_parameters())
        with torch.no_grad():
            for name, value in self._start.items():
                named[name].copy_(value)
        above = [p for part in self.module.parts_above() for p in part.parameters() if p.requires_grad]
        groups = [{"name": "head", "params": above}, *self.module.tuning.parameter_groups()]
        self.optimizer = self.module.make_optimizer(split_by_decay(groups))
        for group in self.optimizer.param_groups:
            group["lr"] *= self.rate
        self.rng = np.random.default_rng((seed, 3))
        self._held: list[tuple[Arrivals, Page]] = []
        self._moved = False
        self.seconds: list[float] = []
        """Of each update."""

    # --- ranking -----------------------------------------------------------------------------------------------

    def places(self, arrivals: Arrivals, k: int) -> Integers:
        """The best by the weights as they are."""
        return best_places(self.values(arrivals), k)

    @torch.inference_mode()
    def values(self, arrivals: Arrivals) -> Floats:
        """(n, C): p(click and purchase) by the weights as they are."""
        if not self._moved:
            return arrivals.value
        self.module.eval()
        asked = self.shop.asked(arrivals.request, arrivals.prices)
        with self._precision():
            output = self.module(self.scorer.batch(asked, list(arrivals.items)))
        both = self.scorer.calibrated(output)[self.shop.rates[1]]
        return both.reshape(arrivals.items.shape)

    # --- learning ----------------------------------------------------------------------------------------------

    def learn(self, arrivals: Arrivals, page: Page) -> None:
        """A few steps."""
        begun = time.perf_counter()
        self._held.append((arrivals, page))
        while len(self._held) > 1 and sum(len(one) for one, _ in self._held[1:]) >= self.recent:
            self._held.pop(0)
        self.module.train()
        for _ in range(self.steps):
            self.optimizer.zero_grad(set_to_none=True)
            self._loss(self._new_rows()).backward()  # type: ignore[no-untyped-call]
            if self.replay:
                (self.replay * self._loss(self._old_rows())).backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_([p for p in self.module.parameters() if p.grad is not None], 1.0)
            self.optimizer.step()
        self._moved = True
        self.seconds.append(time.perf_counter() - begun)

    def _loss(self, batch: Batch) -> Tensor:
        batch = self.module.scales.standardise(batch)
        with self._precision():
            found = self.module.losses_of(batch, self.module(batch))
        return torch.stack([self.module.balanced(found.terms), *found.penalties.values()]).sum()

    def _precision(self) -> torch.autocast:
        """As the run trained: half precision where its frozen weights are kept in it."""
        kept = getattr(self.module.encoder, "kept_in", None)
        return torch.autocast("cpu", dtype=kept or torch.bfloat16, enabled=kept is not None)

    def _new_rows(self) -> Batch:
        """Some of the recent requests as they were shown, with what came of them."""
        block = self._held[int(self.rng.integers(len(self._held)))]
        arrivals, page = block
        some = np.sort(self.rng.permutation(len(arrivals))[: self.requests])
        shown = arrivals.rows(some)
        places = page.places[some]
        items = np.take_along_axis(shown.items, places, axis=1)
        prices = np.take_along_axis(shown.prices, places, axis=1)
        batch = self.scorer.batch(self.shop.asked(shown.request, prices), list(items))
        events = {name: getattr(page.outcome, name)[some].ravel() for name in ("click", "cart", "purchase")}
        labels, observed = labels_of(self.scorer.funnel, events)
        rows, k = places.shape
        seen = np.broadcast_to(page.seen if page.seen.ndim == 1 else page.seen[some], (rows, k))
        columns = {"position": np.tile(np.arange(k), rows), "propensity": seen.ravel()}
        return replace(
            batch,
            labels={name: torch.from_numpy(values) for name, values in labels.items()},
            observed={name: torch.from_numpy(values) for name, values in observed.items()},
            columns={
                name: torch.from_numpy(columns[name].astype(np.float32)) for name in self.module.objective.needs.columns
            },
        )

    def _old_rows(self) -> Batch:
        """As many requests of the training log, as training had them."""
        data = self.scorer.assembly.data
        chosen = np.sort(self.rng.choice(data.requests("train"), self.requests))
        rows = data.store.rows_of(chosen)
        batch = data.collator().rows(rows)
        asked = self.module.objective.needs.columns
        return replace(
            batch, columns={name: torch.from_numpy(data.store.column(name)[rows].astype(np.float32)) for name in asked}
        )
