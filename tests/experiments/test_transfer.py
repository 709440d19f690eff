"""The few-shot curve by hand: what a start is worth in requests, what is advised, what the settings refuse."""

import math

import numpy as np
import pytest
from omegaconf import OmegaConf

from funneltune.errors import ConfigError
from funneltune.experiments.transfer import Settings, Start, Transferred, onto, record_of, starts_in
from funneltune.experiments.transfer.settings import PRETRAINED
from funneltune.experiments.transfer.target import beginning, last_rate
from funneltune.funnel import TaskFunnel

RUN = Start("run")
FUNNEL = TaskFunnel.from_config({"click": {"rate": "ctr"}})
METRIC = "ctr/accuracy"
REQUESTS = 200


def statistics(value, seed=0):
    """Of requests whose rows are right so often."""
    right = np.full(REQUESTS, 10.0 * value) + np.random.default_rng(seed).normal(scale=0.01, size=REQUESTS)
    return {
        "request": np.arange(REQUESTS),
        f"{METRIC}:sum": (right - right.mean() + 10 * value).astype(np.float64),
        f"{METRIC}:weight": np.full(REQUESTS, 10),
    }


def transferred(pretrained, run, untrained=0.6):
    """Curves by shot count, of two seeds that differ by noise alone."""
    counts = [0, *pretrained]
    settings = Settings(shots=tuple(counts), seeds=(0, 1), metric=METRIC)
    found = Transferred(settings, METRIC, counts, 5000, FUNNEL)
    found.statistics[RUN, 0] = [statistics(untrained)]
    for start, curve in ((PRETRAINED, pretrained), (RUN, run)):
        for shots, value in curve.items():
            found.statistics[start, shots] = [statistics(value + move, seed) for seed, move in ((0, 1e-4), (1, -1e-4))]
    return found


def advice(found):
    return record_of(found, "runs/home", "homedepot").notes[0]


def test_a_start_is_worth_the_requests_at_which_the_other_curve_is_as_high():
    found = transferred({100: 0.60, 1000: 0.70}, {100: 0.65, 1000: 0.72}, untrained=0.55)
    assert found.worth(RUN, 100) == pytest.approx(100 * 10**0.5, rel=1e-3)
    assert found.worth(RUN, 1000) == math.inf
    assert math.isnan(found.worth(RUN, 0))
    rows = {row[0]: row[-1] for row in record_of(found, "runs/home", "homedepot").tables["curve"]["rows"]}
    assert rows == {0: "<100", 100: "316", 1000: ">1,000"}


def test_the_advice_says_how_far_the_run_helps_and_by_how_much():
    told = advice(transferred({100: 0.60, 1000: 0.70}, {100: 0.65, 1000: 0.70}))
    assert told.startswith("Begin with run: it is better than the pretrained backbone alone up to 100 requests")
    assert "+0.0500" in told
    assert told.endswith("at 100 requests; the backbone alone needs 316 for that).")
    assert "even with 1000 requests" in advice(transferred({100: 0.60, 1000: 0.70}, {100: 0.65, 1000: 0.75}))


def test_harm_and_nothing_are_told_as_such():
    assert "does harm (ctr/accuracy -0.0500" in advice(transferred({100: 0.65}, {100: 0.60}))
    assert advice(transferred({100: 0.6, 300: 0.7}, {100: 0.6, 300: 0.7})).startswith(
        "No claim: with run the target gained nothing at any of 100, 300 requests"
    )


def test_what_needs_no_training_and_scores_higher_is_named_in_place_of_the_advice():
    found = transferred({100: 0.60, 1000: 0.70}, {100: 0.65, 1000: 0.75}, untrained=0.66)
    of_cosine = {f"cosine|{name}": values for name, values in statistics(0.80).items()}
    found.statistics[RUN, 0][0] |= of_cosine | {f"cosine|{METRIC}:sum": 10 * np.full(REQUESTS, 0.8)}
    found.lexical = ("bm25", "cosine")
    assert found.ahead(RUN, 1000) == {"cosine": pytest.approx(0.8)}
    told = advice(found)
    assert told.startswith("With run the target is better than the pretrained backbone alone even with 1000 requests")
    assert told.endswith(
        "but cosine (0.8000) scores above it (0.6500 at 100 requests, 0.7500 at 1000 requests) and run untrained "
        "(0.6600) scores above it (0.6500 at 100 requests)."
    )
    assert "seed" not in told


def test_of_one_seed_the_advice_says_what_its_interval_does_not_cover():
    for run, begins in ({100: 0.65}, "Begin with run"), ({100: 0.55}, "Start from the pretrained"):
        found = transferred({100: 0.60}, run, untrained=0.5)
        one = {key: each[:1] for key, each in found.statistics.items()}
        alone = Transferred(Settings(shots=(0, 100), seeds=(0,), metric=METRIC), METRIC, [0, 100], 5000, FUNNEL)
        alone.statistics |= one
        assert advice(alone).startswith(begins)
        assert advice(alone).endswith("; one seed: the interval covers requests only, not seeds).")


def test_requests_that_made_a_start_worse_than_it_was_are_named():
    record = record_of(transferred({100: 0.60, 300: 0.60}, {100: 0.62, 300: 0.65}, untrained=0.65), "runs/a", "there")
    (harm,) = [note for note in record.notes if "Training on" in note]
    assert harm.startswith(
        "Training on 100 requests did harm: with them run is worse than untrained (ctr/accuracy -0.03"
    )
    assert record.numbers["run/100 less untrained"]["value"] == pytest.approx(-0.03, abs=1e-3)
    assert record.numbers["run/300 less untrained"]["value"] == pytest.approx(0.0, abs=1e-3)


def test_all_shots_are_the_logs_requests_and_none_is_beyond_them():
    settings = Settings(shots=("all", 30, 0))
    assert settings.counts(500) == [0, 30, 500]
    with pytest.raises(
        ConfigError, match="shots=30 is more than the target's 20 training requests; ask for at most 20"
    ):
        Settings(shots=(30,)).counts(20)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"starts": ()}, "start is empty"),
        ({"shots": (3, -1)}, "shots=-1 must be whole numbers >= 0"),
        ({"seeds": (1, 1)}, "seeds names 1 twice"),
        ({"starts": starts_in(["run", "run"])}, "start names run twice"),
    ],
)
def test_settings_out_of_range_are_told(values, told):
    with pytest.raises(ConfigError, match=told):
        Settings(**values)


def config():
    tasks = {"click": {"rate": "ctr"}}
    return OmegaConf.create(
        {
            "seed": 0,
            "monitor": "validation/ctr/auc",
            "trainer": {},
            "tuning": {"_target_": "funneltune.tuning.Pfeiffer", "activation": "relu", "learning_rate": 0.01},
            "data": {"source": {"labels": {"click": "c"}}, "tasks": tasks, "cache_dir": "here", "max_tokens": 32},
        }
    )


def test_the_target_keeps_how_a_run_reads_a_log_and_takes_which():
    data = OmegaConf.create(
        {"source": {"labels": {"seen": "s"}}, "tasks": {"seen": {"rate": "view"}}, "cache_dir": "x"}
    )
    cfg = onto(config(), data, {"data.source.path": "log.csv"}, {"click": "seen"})
    assert cfg.data.cache_dir == "here"
    assert cfg.data.max_tokens == 32
    assert cfg.data.source == {"labels": {"click": "s"}, "path": "log.csv"}
    assert cfg.data.tasks == {"click": {"rate": "view", "given": []}}
    assert cfg.monitor == "validation/view/auc"
    with pytest.raises(ConfigError, match=r"the run predicts click, and the target's log seen; name its labels"):
        onto(config(), data, {}, {})


def test_a_task_of_what_comes_next_is_not_the_rate_that_is_compared():
    need = {"kind": "multiclass", "levels": ["home", "shoe"], "next": "category"}
    funnel = TaskFunnel.from_config({"click": {"rate": "ctr"}, "need": need})
    assert last_rate(funnel) == "ctr"


def test_a_fusion_takes_the_runs_adapters_and_rate_and_starts_from_all_of_them():
    cfg = beginning(config(), Start.parse("fusion:b,c"), "a", 4)
    assert cfg.tuning == {
        "_target_": "funneltune.tuning.Fusion",
        "runs": ["a", "b", "c"],
        "activation": "relu",
        "learning_rate": 0.01,
    }
    assert cfg.start == ["a", "b", "c"]
    assert cfg.seed == 4
    assert beginning(config(), PRETRAINED, "a", 0).start is None
    for same in ("average:b,a/", "fusion:a", "average:b,b"):
        with pytest.raises(ConfigError, match=r"names (a/?|b) twice \(run=a counts, too\)"):
            beginning(config(), Start.parse(same), "a", 0)
    assert beginning(config(), RUN, "a", 0).start == "a"
