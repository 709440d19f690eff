"""Bias, error and coverage of off-policy estimates: a long simulated log, dealt into a hundred.

`python -m benchmarks.off_policy RUN OUTPUT` writes OUTPUT, a JSON file. Whole shoppers are dealt at random; the
truth is that of all of them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from funneltune.decisions import Scorer
from funneltune.decisions.choices import Chooser
from funneltune.decisions.logged_choices import Reward, decisions_of
from funneltune.decisions.off_policy import DEFAULT
from funneltune.decisions.order import Worth
from funneltune.metrics.off_policy import Logged, estimate

LOGS = 100
ASKED = (("tilted", "click"), ("tilted", "purchase"), ("uniform", "click"))


def measure(run: Path, output: Path) -> None:
    """Estimate each policy's value on each small log, and hold the estimates against the truth."""
    scorer, found = Scorer.of_run(run), {}
    for policy, reward in ASKED:
        worth = Worth.parse("", scorer.rates)
        whole = decisions_of(scorer, Chooser(policy), worth, Reward.parse(reward, scorer))
        shopper = whole.logged.cluster
        log = np.random.default_rng(0).integers(LOGS, size=int(shopper.max()) + 1)[shopper]
        parts = [Logged(**{name: of[log == one] for name, of in vars(whole.logged).items()}) for one in range(LOGS)]
        for name in DEFAULT:
            estimates = [estimate(name, part, draws=0) for part in parts]
            values = np.array([one.value for one in estimates])
            found[f"{policy}/{reward}/{name}"] = {
                "truth": whole.truth,
                "bias": float(values.mean() - whole.truth),
                "rmse": float(np.sqrt(((values - whole.truth) ** 2).mean())),
                "coverage": float(np.mean([one.covers(whole.truth) for one in estimates])),
                "decisions": len(shopper) // LOGS,
            }
            print(policy, reward, name, found[f"{policy}/{reward}/{name}"])
    output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    measure(Path(sys.argv[1]), Path(sys.argv[2]))
