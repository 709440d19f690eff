"""Decisions of a log that names its chances: weights by hand, and what such a log must tell."""

import numpy as np
import pandas as pd
import pytest
import yaml

from funneltune.cli import main
from funneltune.decisions import Scorer
from funneltune.decisions.choices import Chooser
from funneltune.decisions.logged_choices import Reward, decisions_of
from funneltune.decisions.order import Worth
from funneltune.errors import ConfigError, DataError

ITEMS, ROWS = 4, 600
CHANCES = np.array([0.4, 0.3, 0.2, 0.1])
CLICKS = np.array([0.1, 0.2, 0.3, 0.6])


def scorer_of(folder, **columns):
    rng = np.random.default_rng(0)
    item = rng.choice(ITEMS, ROWS, p=CHANCES)
    rows = {"item": item, "click": rng.random(ROWS) < CLICKS[item], "device": rng.integers(3, size=ROWS)}
    rows = {"request": np.arange(ROWS), **rows} | {name: of(item) for name, of in columns.items()}
    pd.DataFrame(rows).astype({"click": int}).to_csv(folder / "log.csv", index=False)
    (folder / "data").mkdir()
    content = {
        "path": str(folder / "log.csv"),
        "source": {
            "_target_": "funneltune.data.Table",
            "path": "${data.path}",
            "request": "request",
            "item": "item",
            "labels": {"click": "click"},
            "categorical": ["device"],
            **{name: name for name in columns},
        },
        "tasks": {"click": {"rate": "ctr"}},
        "split": {"_target_": "funneltune.data.Split", "by": "request", "validation": 0.2, "test": 0.5, "seed": 0},
        "texts": None,
        "features": {"ids": ["item", "device"], "numbers": {}, "vectors": [], "history": 0},
        "cache_dir": str(folder / "cache"),
    }
    (folder / "data" / "bandit.yaml").write_text(yaml.safe_dump(content))
    words = ["data=bandit", "backbone=none", "tuning=frozen", "features=ids", "head=single", "objective=masked_bce"]
    words += ["baselines=[]", "logger=none", "trainer.max_epochs=1", "trainer.enable_progress_bar=false"]
    assert main(["train", *words, f"run_dir={folder / 'run'}", f"--config-dir={folder}"]) == 0
    return Scorer.of_run(folder / "run")


def decisions(scorer, kind="uniform"):
    return decisions_of(scorer, Chooser(kind), Worth.parse("", scorer.rates), Reward.parse("click", scorer))


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    return scorer_of(tmp_path_factory.mktemp("logged"), propensity=lambda item: CHANCES[item])


def test_weights_are_the_policys_chance_over_the_logged_one(logged):
    found = decisions(logged).logged
    store = logged.assembly.data.store
    rows = logged.assembly.data.rows("test")
    np.testing.assert_allclose(found.weight, 1 / ITEMS / store.column("propensity")[rows])
    np.testing.assert_array_equal(found.reward, store.column("click")[rows])
    np.testing.assert_allclose(found.weight.mean(), 1.0, atol=0.2)
    assert (found.weight * found.reward).mean() == pytest.approx(CLICKS.mean(), abs=0.12)


@pytest.mark.slow
def test_what_the_log_does_not_tell_is_refused(logged, tmp_path):
    with pytest.raises(ConfigError, match="policy=tilted needs the logging policy's chances of all candidates"):
        decisions(logged, "tilted")
    with pytest.raises(ConfigError, match="reward=revenue needs the price of every impression"):
        Reward.parse("revenue", logged)
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="the log has no propensity"):
        decisions(scorer_of(tmp_path / "none"))


@pytest.mark.slow
def test_a_propensity_that_is_no_chance_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"propensity=2 must lie in \(0, 1\]"):
        decisions(scorer_of(tmp_path, propensity=lambda item: np.full(len(item), 2.0)))
