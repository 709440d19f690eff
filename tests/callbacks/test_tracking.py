import io
import json
import os
import sys
import time
from pathlib import Path

import lightning as L
import pytest
import wandb
import wandb_reader
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image
from wandb.sdk.mailbox import MailboxClosedError

from funneltune.callbacks import RankMap, csv_logger, log_record, track_study, tracking, wandb_logger
from funneltune.errors import ConfigError
from funneltune.records import RunRecord
from funneltune.secrets import without_secrets

PROTOCOL = {"rows": "clicked", "n": 40, "positives": 4, "averaging": "none"}
CONFIG = {
    "name": "quickstart",
    "seed": 7,
    "tuning": {"_target_": "funneltune.tuning.AdaLoRA", "target_rank": 4, "targets": None},
    "data": {"max_tokens": 64, "api_key": "canary-5dd1", "path": "https://me:canary-77@host/log.csv"},
}


@pytest.fixture(autouse=True)
def no_run_is_left_open():
    yield
    left = wandb.run is not None
    if left:
        wandb.finish(exit_code=1)
    assert not left


def record():
    return RunRecord(
        name="quickstart",
        git_commit="abc123",
        data={"fingerprint": "f00"},
        metrics={
            "validation": {"ctr/auc": {"value": 0.625, "protocol": PROTOCOL | {"rows": "all"}}},
            "test": {
                "cvr/auc": {"value": 0.75, "protocol": PROTOCOL},
                "cvr/pr_auc": {"value": None, "protocol": PROTOCOL},
            },
        },
        oracle={"cvr/auc": {"value": 0.875, "protocol": PROTOCOL}},
        cost={"step_milliseconds_median": 12.5, "peak_memory_bytes": 1024, "peak_memory_scope": "training"},
        parameters={"total": 100, "trainable_start": 10, "share": 0.1},
        rank_pattern={"encoder.layer.0.query": 2},
    )


@pytest.mark.slow
def test_an_offline_run_can_be_read_back_from_its_file(tmp_path, toy, toy_tuning, fit):
    loggers = [wandb_logger(str(tmp_path), CONFIG, tags=["a", "b"])]
    with tracking(loggers):
        fit(toy(tuning=toy_tuning(settles_at=2), validation=[0.5, 0.25]), [RankMap(snapshots=3)], loggers)
        log_record(loggers, record())
    run = wandb_reader.only_run(tmp_path)

    assert run.exit_code == 0
    assert (run.run.project, run.run.run_group, run.run.job_type) == ("funneltune", "quickstart", "train")
    assert list(run.run.tags) == ["a", "b"]
    assert run.config["seed"] == 7
    assert run.config["tuning"] == CONFIG["tuning"]
    assert run.config["data_fingerprint"] == "f00"
    assert run.config["git_commit"] == "abc123"

    assert len(run.series("train/loss")) == 3
    assert run.series("validation/ctr/auc") == [0.25]
    assert run.summary["final/test/cvr/auc"] == 0.75
    assert run.summary["final/validation/ctr/auc"] == 0.625
    assert "final/test/cvr/pr_auc" not in run.summary  # undefined is not zero
    assert run.config["protocols"]["final/test/cvr/auc"] == PROTOCOL
    assert run.summary["oracle/cvr/auc"] == 0.875
    assert run.summary["cost/step_milliseconds_median"] == 12.5
    assert run.summary["cost/peak_memory_bytes"] == 1024
    assert run.config["peak_memory_scope"] == "training"
    assert run.summary["parameters/trainable_start"] == 10

    formats, names = run.series("tuning/rank_map/format"), run.series("tuning/rank_map/filenames")
    assert formats == ["png"] * 4  # before the first step and after each
    for (name,) in names:
        (path,) = tmp_path.glob(f"wandb/offline-run-*/files/{name}")
        assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_records_that_span_blocks_are_put_together_again(tmp_path):
    texts = [chr(97 + n) * (30_000 + 7_919 * n) for n in range(6)]  # up to 69,595 letters: three blocks
    loggers = [wandb_logger(str(tmp_path), {"name": "long", **{f"text{n}": text for n, text in enumerate(texts)}})]
    with tracking(loggers):
        for text in texts:
            loggers[0].experiment.log({"text": text})
    run = wandb_reader.only_run(tmp_path)
    assert run.series("text") == texts
    assert [run.config[f"text{n}"] for n in range(6)] == texts


def test_a_flipped_bit_does_not_pass_the_reader(tmp_path):
    with tracking([wandb_logger(str(tmp_path), {"name": "flipped"})]):
        wandb.log({"x": 1})
    (path,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(AssertionError):
        wandb_reader.read(path)


def test_two_runs_of_one_process_do_not_mix_and_a_failed_one_is_finished_as_failed(tmp_path, toy, fit):
    first, second = tmp_path / "first", tmp_path / "second"
    loggers = [wandb_logger(str(first), {"name": "first", "seed": 1})]
    with pytest.raises(RuntimeError, match="planted"), tracking(loggers):
        fit(toy(fail_at=2), loggers=loggers, folder=first)
    loggers = [wandb_logger(str(second), {"name": "second", "seed": 2})]
    with tracking(loggers):
        fit(toy(), loggers=loggers, folder=second)
    failed, fine = wandb_reader.only_run(first), wandb_reader.only_run(second)
    assert (failed.exit_code, fine.exit_code) == (1, 0)
    assert (failed.config["seed"], fine.config["seed"]) == (1, 2)
    assert (len(failed.series("train/loss")), len(fine.series("train/loss"))) == (2, 3)


def test_an_open_run_is_refused_because_it_would_swallow_the_next_ones_values(tmp_path):
    with tracking([wandb_logger(str(tmp_path), {"name": "open"})]), pytest.raises(ConfigError, match="W&B run is open"):
        wandb_logger(str(tmp_path), {"name": "next"})


def test_a_tracker_that_fails_to_close_does_not_leave_wandb_open(tmp_path):
    class Broken(L.pytorch.loggers.CSVLogger):
        def finalize(self, status):
            raise OSError("disk full")

    loggers = [Broken(str(tmp_path)), wandb_logger(str(tmp_path), {"name": "open"})]
    with pytest.raises(OSError, match="disk full"), tracking(loggers):
        pass
    assert wandb.run is None


@pytest.mark.tried("secrets", "canary")
def test_no_secret_and_no_code_reaches_the_tracker(tmp_path, monkeypatch, tally):
    monkeypatch.setenv("WANDB_API_KEY", "c" * 40)
    for name in ("WANDB_USERNAME", "WANDB_USER_EMAIL", "WANDB_HOST", "WANDB_GIT_REMOTE_URL", "WANDB_PROGRAM"):
        monkeypatch.setenv(name, f"canary-{name}")
    monkeypatch.setattr(sys, "argv", ["canary-program", "canary=argument"])
    with tracking([wandb_logger(str(tmp_path), CONFIG)]):
        wandb.log({"x": 1})
    run = wandb_reader.only_run(tmp_path)
    assert run.kinds == {
        "header",
        "run",
        "telemetry",
        "metric",
        "history",
        "summary",
        "exit",
    }  # no environment, no files
    assert run.run.host == ""
    assert run.config["data"] == {"max_tokens": 64, "api_key": "***", "path": "https://host/log.csv"}
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"canary" not in written
    assert b"c" * 40 not in written
    assert not [path for path in tmp_path.rglob("*") if path.suffix in {".py", ".patch"}]
    tally(11)  # of the config three, of the environment six, of the command two


@pytest.mark.parametrize("kind", [OSError, wandb.errors.CommError, MailboxClosedError])
def test_a_tracker_that_does_not_start_is_one_line(kind, tmp_path, monkeypatch):
    def fails(*_, **__):
        raise kind("nobody  there")

    monkeypatch.setattr(wandb, "init", fails)
    with pytest.raises(ConfigError, match=r"W&B did not start \(nobody there\); set WANDB_API_KEY"):
        wandb_logger(str(tmp_path), {"name": "x"})


def test_blanking_leaves_words_that_only_resemble_secrets_alone():
    plain = {"tokenizer": "minilm", "max_tokens": 64, "monitor": "validation/ctr/auc", "keyed": ["a", None, 0.5]}
    assert without_secrets(plain) == plain
    assert without_secrets({"wandb": {"hf_token": "x", "Password": "y", "keys": ["z"]}}) == {
        "wandb": {"hf_token": "***", "Password": "***", "keys": ["z"]}
    }


def test_an_unknown_mode_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"logger.wandb.mode='onlin' must be one of offline, online, disabled"):
        wandb_logger(str(tmp_path), {}, mode="onlin")


def test_online_without_a_key_is_one_clear_line(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("WANDB_") and name != "WANDB_SILENT"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="set WANDB_API_KEY") as caught:
        wandb_logger(str(tmp_path), {"name": "online"}, mode="online")
    assert "\n" not in str(caught.value)


def test_disabled_writes_nothing(tmp_path):
    loggers = [wandb_logger(str(tmp_path), {"name": "off"}, mode="disabled")]
    with tracking(loggers):
        log_record(loggers, record())
    assert not list(tmp_path.rglob("*.wandb"))


def test_other_ranks_report_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    loggers = [wandb_logger(str(tmp_path), CONFIG), csv_logger(str(tmp_path), CONFIG)]
    with tracking(loggers):
        log_record(loggers, record())
    assert wandb.run is None
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_csv_holds_the_final_numbers_in_its_last_row(tmp_path, toy, fit):
    loggers = [csv_logger(str(tmp_path), CONFIG)]
    with tracking(loggers):
        fit(toy(validation=[0.5, 0.25]), loggers=loggers)
        log_record(loggers, record())
    import pandas as pd

    table = pd.read_csv(tmp_path / "csv" / "metrics.csv")
    assert table["train/loss"].notna().sum() == 3
    assert table["final/test/cvr/auc"].iloc[-1] == 0.75
    assert table["cost/step_milliseconds_median"].iloc[-1] == 12.5


def test_logger_configs_build_what_they_name(tmp_path):
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    configs = Path(__file__).parents[2] / "configs" / "logger"
    nodes = {path.stem: OmegaConf.load(path) for path in configs.glob("*.yaml")}
    assert nodes["none"] == {}
    assert nodes["wandb"].wandb.mode == "offline"
    config = json.loads(json.dumps(CONFIG))
    loggers = [
        instantiate(node, _partial_=True)(save_dir=str(tmp_path), config=config)
        for choice in ("wandb", "csv")
        for node in nodes[choice].values()
    ]
    with tracking(loggers):
        assert wandb.run is not None
        assert wandb.run.settings.mode == "offline"
        assert wandb.run.group == "quickstart"
    assert wandb_reader.only_run(tmp_path).config["seed"] == 7


def test_a_studys_tables_are_a_run_of_its_group_and_a_second_call_goes_on_with_it(tmp_path):
    node = {"_target_": "funneltune.callbacks.wandb_logger", "mode": "offline", "group": None, "name": None, "tags": []}
    tables = {"verdicts": (["cell", "difference", "verdict"], [["a", 0.5, "better"], ["b", None, "no claim"]])}
    picture = io.BytesIO()
    Image.new("RGB", (8, 6), "red").save(picture, "png")
    track_study(node, tmp_path, "peft", {"seeds": [0, 1]}, tables, {"cost-memory": picture.getvalue()})
    time.sleep(1.1)  # W&B names a folder by the second
    track_study(node, tmp_path, "peft", {"seeds": [0, 1]}, tables)
    one, two = sorted(path.name for path in tmp_path.glob("wandb/offline-run-*"))
    assert one.rpartition("-")[2] == two.rpartition("-")[2]
    (path,) = tmp_path.glob(f"wandb/{one}/*.wandb")
    first = wandb_reader.read(path)
    assert first.run.run_group == "peft"
    assert first.run.display_name == "study peft"
    assert first.run.job_type == "study"
    assert first.config["seeds"] == [0, 1]
    (stored,) = tmp_path.glob(f"wandb/{one}/files/media/table/verdicts_*.json")
    assert json.loads(stored.read_text())["data"] == tables["verdicts"][1]
    (drawn,) = tmp_path.glob(f"wandb/{one}/files/media/images/figures/cost-memory_*.png")
    with Image.open(drawn) as kept:
        assert kept.size == (8, 6)
