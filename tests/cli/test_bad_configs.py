"""A user's mistakes on the command line: one clear line, status 2, nothing written."""

import pytest

from funneltune.cli import main

TRAIN = {
    "tuning.target_rnk=4": "tuning.target_rnk is no key (nearest: tuning.target_rank)",
    "sede=3": "sede is no key (nearest: seed)",
    "tunin=adalora": "tunin is no key (nearest: tuning)",
    "target_rank=3": "target_rank is no key (nearest: tuning.target_rank)",
    "model.rows_per_batch=3": "model.rows_per_batch is no key (nearest: data.rows_per_batch)",
    "~tuning.target_rnk": "tuning.target_rnk is no key (nearest: tuning.target_rank)",
    "tuning=adalor": "tuning=adalor is no choice, nearest: adalora; tuning is one of adalora, bitfit",
    "quickstrt": "experiment=quickstrt is no choice, nearest: quickstart",
    "trainer=3": "trainer=3: trainer is a group; write trainer=CHOICE",
    "trainer=null": "trainer=null: trainer is a group; write trainer=CHOICE",
    "+tuning=full": "+tuning=full: tuning is chosen already; write tuning=full",
    "seed=abc": "seed=abc must be a whole number",
    "seed=1.5": "seed=1.5 must be a whole number",
    "seed=null": "seed=null: cannot be null",
    "seed=-1": "seed=-1 must be a whole number in [0, 2**32)",
    "baselines=bm25": "baselines=bm25: must be a list",
    "baselines=[bm52]": "baselines: 'bm52' is not one of bm25",
    "study.seeds=[0]": "study.seeds=[0]: study is null here",
    "seed=0,1": "'seed=0,1' has several values: only `funneltune study` tries them all",
    "head.hidden=[1": "'head.hidden=[1' cannot be read; write key=value",
    "select=first": "select='first' must be last or best",
    "monitor=test/ctcvr/auc": "the test split never selects a model",
    "optimizer.lr=-1": "optimizer.lr=-1 must be a number above 0",
    "trainer=fsdp2": "trainer.strategy=fsdp2 shards gradients, and tuning=adalora needs them whole",
    "data.sampling.groups={column: user}": "data.sampling is null here; write it whole: 'data.sampling={groups: {col",
    "data.sampling.groups.column=user": "write it whole: 'data.sampling={groups: {column: user}}'",
    "data.sampling.groups.colum=user": "write it whole: 'data.sampling={groups: {colum: user}}'",
    "~data.sampling.groups": "data.sampling.groups is no key (nearest: data.sampling)",
    "data.rows_per_batch=0": "data.rows_per_batch=0 must be a whole number >= 1",
    "data.tokens_per_batch=true": "data.tokens_per_batch=True must be a whole number >= 1",
    "backbone.cache_gb=abc": "backbone.cache_gb='abc' must be a number",
    "backbone.token_budget=abc": "backbone.token_budget='abc' must be a whole number",
    "backbone.compile=abc": "backbone.compile='abc' must be true or false",
    "tuning.top=abc": "tuning.top='abc' must be a whole number, or null",
    "tuning.shrink=abc": "tuning.shrink='abc' must be true or false",
    "trainer.precision=bf17": "trainer.precision='bf17' must be one of auto, 32-true, bf16-mixed",
    "+tuning.target_rnk=4": "tuning.target_rnk is no key (nearest: tuning.target_rank)",
    "+optimizer.weight_decy=4": "optimizer.weight_decy is no key (nearest: optimizer.weight_decay)",
    "backbone.architecture={n_layer: 2}": "names keys that backbone.architecture does not have yet; write ++backbone",
    "+data.rows_per_bach=4": "data.rows_per_bach is no key (nearest: data.rows_per_batch)",
    "head._target_=os.system": "head._target_='os.system' is not allowed",
    "head._target_=funneltune.heads.ESNM": "(nearest: funneltune.heads.ESMM)",
}


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def assert_one_line(capsys, tmp_path, message):
    shown = capsys.readouterr()
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
    assert message in shown.err
    assert shown.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("override", "message"), TRAIN.items(), ids=TRAIN.keys())
@pytest.mark.tried("bad_config", "bad_input")
def test_a_mistake_is_one_line_with_the_remedy_and_writes_nothing(override, message, capsys, tmp_path):
    assert main(["train", override]) == 2
    assert_one_line(capsys, tmp_path, message)


@pytest.mark.tried("bad_config", "bad_input")
def test_all_misspelt_overrides_are_told_at_once(capsys, tmp_path):
    assert main(["train", "quickstart", "tuning.target_rnk=4", "sede=3", "head=esm"]) == 2
    line = capsys.readouterr().err
    for message in ("tuning.target_rank", "nearest: seed", "nearest: esmm"):
        assert message in line
    assert line.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("# @package _global_\nsede: 3\n", "experiment/mine.yaml: sede is no key, nearest: seed"),
        ("# @package _global_\ndefaults: [{override /tuning: adalor}]\n", "chooses tuning: adalor, which is not there"),
        ("# @package _global_\nseed: [1\n", "mine.yaml"),
        ("# @package _global_\ntuning: {target_rnk: 3}\n", "tuning.target_rnk is no key (nearest: tuning.target_rank)"),
    ],
)
@pytest.mark.tried("bad_config", "bad_input")
def test_a_mistake_in_a_users_own_file_names_the_file_or_the_key(content, message, capsys, tmp_path, tmp_path_factory):
    conf = tmp_path_factory.mktemp("conf")
    (conf / "experiment").mkdir()
    (conf / "experiment" / "mine.yaml").write_text(content)
    assert main(["train", "mine", "--config-dir", str(conf)]) == 2
    assert_one_line(capsys, tmp_path, message)


STUDY = {
    (): "no study is named: funneltune study NAME; studies: ablation, ",
    ("quickstrt",): "study=quickstrt is no choice, nearest: quickstart",
    ("quickstart", "tuning=frozn,full"): "tuning=frozn is no choice, nearest: frozen",
    ("quickstart", "tunin=a,b"): "tunin is no key (nearest: tuning)",
    ("quickstart", "study.axes.tuning=[]"): "study.axes.tuning has no values",
    ("quickstart", "study.axes.tuning=full"): "study.axes.tuning='full' is no list; write [full]",
    ("quickstart", "study.seeds=[0,0]"): "study.seeds names 0 twice",
    ("quickstart", "study.seeds=[]"): "study.seeds is empty",
    ("quickstart", "seed=a,b"): "seed=a,b must be whole numbers",
    ("quickstart", "tuning=full,adalora"): "study.baseline=tuning=frozen is no cell of this study",
    ("quickstart", "study.sedds=[0]"): "study.sedds is no key (nearest: study.seeds)",
    ("quickstart", "run_dir=x"): "run_dir is a single run's",
    ("quickstart", "study_dir="): "give one folder, study_dir=PATH",
    ("quickstart", "optimizer.lr=interval(0,1)"): "is a continuous range; a study needs a list",
    ("quickstart", "hydra/launcher=jobli"): "hydra/launcher=jobli is no choice, nearest: joblib",
    (
        "quickstart",
        "tuning=full",
        "study.baseline=null",
        "optimizer.lr=0.1,-1",
    ): "optimizer.lr=-1 must be a number above 0",
}


@pytest.mark.slow
@pytest.mark.parametrize(("words", "message"), STUDY.items(), ids=[" ".join(words) or "nothing" for words in STUDY])
@pytest.mark.tried("bad_config", "bad_input")
def test_a_mistake_in_a_study_starts_no_cell(words, message, capsys, tmp_path):
    assert main(["study", *words]) == 2
    assert_one_line(capsys, tmp_path, message)


OTHERS = {
    ("report",): "missing PATH: funneltune report PATH",
    ("report", "nowhere"): "nowhere is not a folder",
    ("report", ".", "outptu=x"): "outptu=x is no key here, nearest: output",
    ("report", "."): "holds no record.json",
    ("evaluate",): "missing run=PATH",
    ("evaluate", "run=nowhere"): "run=nowhere holds no record.json; name the folder",
    ("evaluate", "run=nowhere", "split=tset"): "split=tset must be one of validation, test",
    ("predict", "run=nowhere", "input=a.csv"): "missing output=FILE",
    ("predict", "run=nowhere", "input=a.csv", "output=b.csv"): "input=a.csv is not a file",
    ("data",): "missing one of describe, validate",
    ("data", "descrbe"): "data descrbe is unknown, nearest: describe",
    ("data", "validate", "data=simulatd"): "data=simulatd is no choice, nearest: simulated",
    ("data", "validate", "data=homedepot", "data.path=nowhere.csv"): "nowhere.csv",
}


@pytest.mark.parametrize(("words", "message"), OTHERS.items(), ids=[" ".join(words) for words in OTHERS])
@pytest.mark.tried("bad_config", "bad_input")
def test_a_mistake_of_the_other_verbs_is_one_line(words, message, capsys, tmp_path):
    assert main(list(words)) == 2
    assert_one_line(capsys, tmp_path, message)
