"""A secret in a config or a command is refused before anything is written, and told by its key alone."""

import logging
from pathlib import Path

import pytest
import yaml

from funneltune.cli import main
from funneltune.cli.compose import compose_config
from funneltune.errors import ConfigError
from funneltune.runs import check_config
from funneltune.runs.logs import logger, train_log
from funneltune.secrets import is_secret_name, redacted, secret_faults, without_secrets, word_faults

ROOT = Path(__file__).parents[1]
SECRETS = {
    "W&B": "0123456789abcdef" * 2 + "01234567",
    "W&B on premises": "local-" + "0123456789abcdef" * 2 + "01234567",
    "W&B, new": "wandb_v1_" + "aB3" * 20,
    "Hugging Face": "hf_" + "aBcD3" * 7,
    "OpenAI": "sk-" + "proj-" + "aB3x" * 12,
    "Anthropic": "sk-" + "ant-api03-" + "aB3x" * 20,
    "AWS": "AKIA" + "ABCD2345" * 2,
    "GitHub": "ghp_" + "aB3x" * 9,
    "GitHub, fine-grained": "github_pat_" + "aB3x" * 15,
    "GitLab": "glpat-" + "aB3x" * 5,
    "Slack": "xoxb-" + "123456789012-aBcD",
    "Google": "AIza" + "aB3x-" * 7,
    "PyPI": "pypi-" + "AgEI" * 12,
    "a web token": "eyJhbGciOiJI" + "." + "eyJzdWIiOiIx" + "." + "aB3xaB3xaB3x",
    "a login": "https://me:canary-77@host/log.csv",
    "a token as a login": "https://canary-77@host/log.csv",
}
"""What has the format of a secret, in pieces: no scanner of sources is to take it for one."""


def refused(capsys, folder, words, secret):
    before = sorted(folder.rglob("*"))
    assert main(words) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
    assert secret not in shown.err + shown.out
    assert sorted(folder.rglob("*")) == before
    return shown.err


@pytest.mark.tried("secrets", "bad_input")
@pytest.mark.parametrize("kind", SECRETS)
def test_a_value_that_has_the_format_of_a_secret_is_refused_by_its_key(kind, capsys, tmp_path, in_a_folder):
    told = refused(capsys, tmp_path, ["train", "quickstart", f"name='{SECRETS[kind]}'"], SECRETS[kind])
    assert told.startswith("error: name h")
    assert "WANDB_API_KEY" in told  # the remedy


@pytest.mark.tried("secrets", "bad_input")
@pytest.mark.parametrize(
    ("word", "key"),
    [
        ("+logger.wandb.api_key=canary", "logger.wandb.api_key"),
        ("++logger.wandb.apiKey=canary", "logger.wandb.apiKey"),
        ("+hf_token=canary", "hf_token"),
        ("+data.password=canary", "data.password"),
        ("+backbone.client_secret=canary", "backbone.client_secret"),
        ("~data.AWS_SECRET_ACCESS_KEY=canary", "data.AWS_SECRET_ACCESS_KEY"),
        ("api_key=canary", "api_key"),  # no key of the config: told all the same without its value
        ("logger@x.credentials=canary", None),
        ('name="${oc.env:WANDB_API_KEY}"', "name"),
        ("name='${oc.env:HF_TOKEN,none}'", "name"),
        ("name=${oc.decode:${oc.env:MY_PASSWORD}}", "name"),
        ("+logger.wandb.settings={api_key: canary}", "logger.wandb.settings.api_key"),
        ("logger.wandb.tags=[fine,'https://canary:pw@host']", "logger.wandb.tags"),
    ],
)
def test_a_key_that_is_named_like_a_secret_or_reads_one_is_refused(word, key, capsys, tmp_path, in_a_folder):
    for verb in ("train", "study"):
        told = refused(capsys, tmp_path, [verb, "quickstart", word], "canary")
        assert key is None or f"error: {key} " in told


@pytest.mark.tried("secrets", "bad_input")
@pytest.mark.parametrize("verb", ["predict", "rank", "serve", "report", "explain"])
def test_verbs_without_a_config_refuse_them_too(verb, capsys, tmp_path, in_a_folder):
    for word in (f"run={SECRETS['a login']}", f"x={SECRETS['Hugging Face']}", "token=canary-77", SECRETS["AWS"]):
        told = refused(capsys, tmp_path, [verb, word], SECRETS["AWS"])
        assert "canary" not in told
        assert SECRETS["Hugging Face"] not in told


@pytest.mark.tried("secrets", "bad_input")
def test_a_file_of_a_users_own_groups_is_looked_at(capsys, tmp_path, in_a_folder):
    (tmp_path / "logger").mkdir()
    (tmp_path / "logger" / "mine.yaml").write_text("wandb: {_target_: x, api_key: canary-77}\n")
    told = refused(capsys, tmp_path, ["train", "logger=mine", "--config-dir", str(tmp_path)], "canary")
    assert "logger.wandb.api_key is named like a secret" in told


@pytest.mark.tried("secrets", "bad_input")
def test_the_value_of_a_secret_variable_is_refused_wherever_it_stands(monkeypatch):
    monkeypatch.setenv("MY_ODD_KEY", "Canary-of-no-format-5dd1")
    with pytest.raises(ConfigError, match="logger.wandb.group holds the value of the environment variable MY_ODD_KEY"):
        compose_config(["experiment=quickstart", "logger.wandb.group='x Canary-of-no-format-5dd1 y'"])
    monkeypatch.setenv("FINE", "x Canary-of-no-format-5dd1")
    cfg = compose_config(["experiment=quickstart", "logger.wandb.group='${oc.env:FINE}'"])  # by another's name
    with pytest.raises(ConfigError, match="logger.wandb.group holds the value") as caught:
        check_config(cfg)
    assert "Canary" not in str(caught.value)


@pytest.mark.tried("secrets", "bad_input")
def test_a_config_that_python_made_is_checked_too():
    cfg = compose_config(["experiment=quickstart", "logger=none"])
    cfg.logger = {"mine": {"_target_": "funneltune.callbacks.csv_logger", "password": "canary-77"}}
    with pytest.raises(ConfigError, match="logger.mine.password is named like a secret") as caught:
        check_config(cfg)
    assert "canary" not in str(caught.value)


def test_nothing_that_ships_is_taken_for_a_secret():
    files = sorted((ROOT / "configs").rglob("*.yaml"))
    assert len(files) > 100
    for file in files:
        assert list(secret_faults(yaml.safe_load(file.read_text()))) == [], file


@pytest.mark.parametrize(
    "node",
    [
        {"revision": SECRETS["W&B"], "git_commit": SECRETS["W&B"], "data_fingerprint": SECRETS["W&B"]},
        {"sha256": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"},
        {"tokens_per_batch": 4, "tokenizer": "x", "max_tokens": 64, "pad_token": "[PAD]", "cls_token": "<s>"},
        {"key": "FUNNELTUNE_KEY", "keyed": "a", "by": ["product_key"], "monkey": "x"},
        {"token": None, "use_auth_token": False, "password": "", "secret": "???"},
        {"path": f"cache/snapshots/{SECRETS['W&B']}/model", "url": "https://host/a:b@c", "mail": "me@host"},
        {"name": "sk-learn-baseline-with-twenty-letters-and-more", "tag": "hf_hub", "target": "pkg.task-sk-1"},
    ],
)
def test_what_only_resembles_a_secret_passes(node):
    assert list(secret_faults(node)) == []
    spelt = {None: "null", False: "false"}
    words = [f"data.{key}={spelt[value] if value in (None, False) else value}" for key, value in node.items()]
    assert list(word_faults(words)) == []


def test_names_are_split_at_capitals_and_marks():
    assert all(map(is_secret_name, ("apiKey", "api-key", "X-API-KEY", "clientSecret", "token", "db_passwd", "a.token")))
    assert not any(map(is_secret_name, ("tokens", "keys", "secretary", "passwords_seen", "tokenized", "eos_token")))


@pytest.mark.tried("secrets", "canary")
def test_a_text_is_shown_without_its_secrets(monkeypatch, tally):
    monkeypatch.setenv("HF_TOKEN", "canary-value-of-the-environment")
    monkeypatch.setenv("SOME_KEY", "quickstart")  # a word in small letters would be found everywhere
    for kind, secret in SECRETS.items():
        told = redacted(f"cannot reach {secret} (api_key={secret}), see host")
        assert secret not in told or kind.startswith("W&B"), kind
        assert "canary" not in told
        assert f"api_key={secret}" not in told
    assert redacted("x canary-value-of-the-environment") == "x ***"
    assert redacted("{'password': 'hunter22', 'n': 1} token=abc") == "{'password': '***', 'n': 1} token=***"
    plain = f"revision={SECRETS['W&B']} quickstart tokens_per_batch=4 pad_token=x tuning.token: is no key"
    assert redacted(plain) == plain
    tally(len(SECRETS) + 3)


@pytest.mark.tried("secrets", "canary")
def test_a_runs_log_holds_neither_secrets_nor_values_of_variables(tmp_path, monkeypatch, tally):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary/of+the+cloud")
    local = "canary-local-variable"  # of the frame that fails
    with train_log(tmp_path):
        logger.warning("cannot reach %s", SECRETS["a login"])
        try:
            raise OSError(f"denied: Authorization=canary-1, canary/of+the+cloud, {SECRETS['Hugging Face']}")
        except OSError:
            logger.exception("it failed")
        logging.getLogger("lightning.pytorch").info("token=canary-2")
    told = (tmp_path / "train.log").read_text()
    assert "it failed" in told
    assert "Traceback" in told
    assert "canary" not in told  # nor the frame's variables
    assert local not in told
    tally(6)


def test_blanking_keeps_the_name_of_a_variable():
    assert without_secrets({"pseudonyms": {"key": "FUNNELTUNE_KEY"}}) == {"pseudonyms": {"key": "FUNNELTUNE_KEY"}}
    assert without_secrets({"key": "canary", "keys": ["a"]}) == {"key": "***", "keys": ["a"]}
