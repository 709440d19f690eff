"""Secrets of the environment and persons of a log, planted: nothing that runs and decisions write holds one.

One shop, one process for all commands, run as a user would: secrets in variables, in ~/.netrc and in git's remote, a
log whose shoppers and queries are under pseudonyms.
"""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import canaries

SECRETS = {
    "WANDB_API_KEY": "c0ffee" * 6 + "c0de",
    "HF_TOKEN": "hf_" + "CanaryToken" * 4,
    "HUGGING_FACE_HUB_TOKEN": "hf_" + "CanaryOlder" * 4,
    "AWS_SECRET_ACCESS_KEY": "canary/aws+secret/0123456789abcdefghijkl",
    "AWS_ACCESS_KEY_ID": "AKIA" + "CANARY2345CANARY",
    "OPENAI_API_KEY": "sk-" + "canary0123456789Canary0123456789",
    "DATABASE_PASSWORD": "canary-database-pass-1",
    "SHOP_KEY": "canary-pseudonym-key-0123456789abcdef",
}
PRIVATE = {
    **SECRETS,
    "netrc": "canary-netrc-pass-2",
    "git remote": "canary-git-pass-3",
    "WANDB_USER_EMAIL": "canary.person@mail.example",
    "WANDB_USERNAME": "canary-wandb-user",
    "a plain variable": "canary-plain-variable-4",
}
WHO, ASKED, VISIT = "canary-person-4711", "zqxcanary lantern", "canary-visit-99"
PERSONS = {"user": WHO, "query": ASKED, "word": "zqxcanary", "visit": VISIT, "other user": "mallory-0815"}
GROUP = """
path: {folder}/log.csv
source:
  _target_: funneltune.data.Table
  path: ${{data.path}}
  request: visit
  user: who
  query_text: {{query: asked}}
  item: item
  item_text: {{title: title}}
  position: position
  time: at
  price: price
  labels: {{click: click, purchase: purchase}}
tasks: {{click: {{rate: ctr}}, purchase: {{given: [click], rate: cvr, joint_rate: ctcvr}}}}
split: {{_target_: funneltune.data.Split, by: time, validation: 0.2, test: 0.3, seed: 0}}
texts: {{query: "{{query}}", item: "{{title}}"}}
features: {{ids: [user, item, query], numbers: {{price: log}}, vectors: [], history: 2}}
rows_per_batch: 40
cache_dir: {folder}/cache
slices: [user_cold]
leaks: ignore
pseudonyms: {{of: [user, query], key: SHOP_KEY}}
"""
SMALL = (
    *("data=shop", "backbone=tiny", "features=all", "trainer.max_epochs=1"),
    *("trainer.enable_progress_bar=false", "trainer.precision=32-true", "--config-dir", "groups"),
)
BOARD = "+logger.tensorboard={_target_: funneltune.callbacks.tensorboard_logger}"
ASK = ("run=run", "calibration=none")
COMMANDS = {
    "data": ("data", "describe", "data=shop", "--config-dir", "groups"),
    "train": ("train", *SMALL, "tuning=lora", "run_dir=run", "name=shop", BOARD, "baselines=[bm25,popularity]"),
    "study": ("study", "quickstart", *SMALL, "study_dir=study", "tuning=frozen,lora", "seed=0"),
    "failing": ("train", *SMALL, "tuning=lora", "run_dir=failed", "name=shop", "optimizer.lr=1e30"),
    "no log": ("train", *SMALL, "run_dir=gone", "data.path=gone.csv"),
    "a secret": ("train", *SMALL, "run_dir=none", f"logger.wandb.group={SECRETS['DATABASE_PASSWORD']}"),
    "predict": ("predict", *ASK, "input=log.csv", "output=out/predicted.parquet"),
    "predict csv": ("predict", *ASK, "input=log.csv", "output=out/predicted.csv"),
    "export": ("export", "run=run", "to=safetensors", "output=out/exported", "repeats=0"),
    "rank": ("rank", *ASK, "split=test", "output=out/pages.parquet"),
    "rank one": ("rank", *ASK, f"query={ASKED}", f"user={WHO}"),
    "explain": ("explain", *ASK, f"query={ASKED}", f"user={WHO}", "item=i3", "steps=4", "output=out/why.html"),
    "explain row": ("explain", *ASK, "split=test", "row=0", "steps=4", "output=out/why.json"),
    "explain here": (
        "explain",
        *ASK,
        f"query={ASKED}",
        f"user={WHO}",
        "item=i3",
        "steps=4",
        "what_if=user=mallory-0815",
    ),
    "queries": ("embed", "run=run", "what=queries", "output=out/queries.parquet"),
    "users": ("embed", "run=run", "what=users", "output=out/users.npz"),
    "personas": ("personas", "run=run", "min_size=3", "past=1", "nulls=19", "bootstraps=5", "output=out/personas"),
    "report": ("report", "study"),
}
STATUS = {"failing": 1, "no log": 2, "a secret": 2}
DRIVER = """
import json, os, sys
from funneltune.cli import main
told = {}
for name, words in json.load(open(sys.argv[1])).items():
    sys.argv = ["funneltune", *words]
    print(f"== {name}", flush=True)
    print(f"== {name}", file=sys.stderr, flush=True)
    told[name] = main(words)
json.dump(told, open("status.json", "w"))
"""


def log():
    rng = np.random.default_rng(0)
    words = ["lamp", "couch", "rug", "mug", "desk", "chair"]
    rows = []
    for request in range(120):
        canary = request % 10 == 3
        who = WHO if canary else "mallory-0815" if request % 10 == 6 else f"u{rng.integers(14)}"
        query, visit = (ASKED if canary else words[request % 6]), (VISIT if request == 13 else f"v{request}")
        for position in range(5):
            item = int(rng.integers(6))
            click = int(rng.random() < (0.8 if words[item] == query else 0.3))
            bought = int(click and rng.random() < 0.4)
            rows.append(
                (visit, who, query, f"i{item}", f"big {words[item]}", position, 1000 + request, 5 + item, click, bought)
            )
    names = ["visit", "who", "asked", "item", "title", "position", "at", "price", "click", "purchase"]
    return pd.DataFrame(rows, columns=names)


def carried_out(folder, commands, **more):
    """Run commands in one process as the user of this machine would: statuses, what was printed, what went wrong."""
    (folder / "commands.json").write_text(json.dumps(commands))
    (folder / "driver.py").write_text(DRIVER)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "GIT_"))}
    environment |= {name: value for name, value in PRIVATE.items() if name.isupper()}
    environment |= {"HOME": str(folder / "home"), "PLAIN": PRIVATE["a plain variable"], "WANDB_SILENT": "true"}
    environment |= {"OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(folder / "home" / "cache"), **more}
    words = [sys.executable, str(folder / "driver.py"), str(folder / "commands.json")]
    place = {"cwd": folder / "work", "env": environment, "timeout": 1500}
    done = subprocess.run(words, check=False, capture_output=True, text=True, **place)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads((folder / "work" / "status.json").read_text()), done.stdout, done.stderr


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A folder in which all commands ran, with what they printed and their statuses."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "home").mkdir()
    (folder / "home" / ".netrc").write_text(f"machine api.wandb.ai login user password {PRIVATE['netrc']}\n")
    (folder / "home" / ".netrc").chmod(0o600)
    work = folder / "work"
    (work / "groups" / "data").mkdir(parents=True)
    log().to_csv(work / "log.csv", index=False)
    (work / "groups" / "data" / "shop.yaml").write_text(GROUP.format(folder=work))
    remote = f"https://me:{PRIVATE['git remote']}@host.example/a.git"
    for words in (["init", "-q"], ["remote", "add", "origin", remote]):
        subprocess.run(["git", *words], cwd=work, check=True)
    status, out, err = carried_out(folder, COMMANDS)
    (folder / "stdout.txt").write_text(out)
    (folder / "stderr.txt").write_text(err)
    (folder / "status.json").write_text(json.dumps(status))
    return folder


def written(shop):
    """Everything but what the user put there: the log, the groups, git's own folder, the home."""
    for path in sorted((shop / "work").iterdir()):
        if path.name not in ("log.csv", "groups", ".git"):
            yield path


@pytest.mark.slow
def test_all_commands_end_as_they_must(shop):
    told = json.loads((shop / "status.json").read_text())
    assert told == {name: STATUS.get(name, 0) for name in COMMANDS}, (shop / "stderr.txt").read_text()[-3000:]
    kinds = {path.suffix for path in (shop / "work").rglob("*") if path.is_file()}
    assert kinds >= {".wandb", ".ckpt", ".safetensors", ".parquet", ".npz", ".json", ".yaml", ".html", ".log", ".md"}
    assert any("tfevents" in path.name for path in (shop / "work" / "run").rglob("*"))
    record = json.loads((shop / "work" / "run" / "record.json").read_text())
    assert record["data"]["pseudonyms"]["of"] == ["user", "query"]
    assert record["origins"]["backbone"]["pinned"]
    assert json.loads((shop / "work" / "failed" / "record.json").read_text())["status"] == "failed"


@pytest.mark.slow
@pytest.mark.tried("secrets", "canary")
def test_no_secret_is_in_anything_that_was_written_or_printed(shop, tally):
    texts = (shop / "stdout.txt").read_text() + (shop / "stderr.txt").read_text()
    assert canaries.in_text(texts, PRIVATE.values()) == set()
    assert "logger.wandb.group holds the value of the environment variable DATABASE_PASSWORD" in texts
    for path in written(shop):
        assert canaries.found(path, PRIVATE.values()) == set(), path.name
    assert canaries.found(shop / "work" / ".git", PRIVATE.values())  # planted where it was looked for
    tally(len(PRIVATE))


@pytest.mark.slow
@pytest.mark.tried("persons", "canary")
def test_no_person_is_in_anything_but_the_log_and_no_query_in_anything_but_its_store(shop, tally):
    texts = (shop / "stdout.txt").read_text() + (shop / "stderr.txt").read_text()
    assert canaries.in_text(texts, PERSONS.values()) == set()
    for path in written(shop):
        if path.name != "cache":
            assert canaries.found(path, PERSONS.values()) == set(), path.name
    kept = canaries.found(shop / "work" / "cache", PERSONS.values())
    assert {file.rpartition("/")[2] for file, _ in kept} == {"queries.arrow"}  # whose words the model reads
    assert {canary for _, canary in kept} == {ASKED, "zqxcanary"}
    assert canaries.found(shop / "work", [WHO]) == {("log.csv", WHO)}
    tally(len(PERSONS))


@pytest.mark.slow
@pytest.mark.tried("persons", "leak")
def test_what_is_given_out_names_pseudonyms_that_fit_together(shop):
    predicted = pq.read_table(shop / "work" / "out" / "predicted.parquet").to_pandas()
    source = log()
    ours, theirs = predicted["user"], source["who"]
    assert predicted["user"].str.fullmatch("[0-9a-f]{32}").all()
    assert predicted["query"].str.fullmatch("[0-9a-f]{32}").all()
    pairs = set(zip(ours, theirs, strict=True))
    assert len(pairs) == ours.nunique() == theirs.nunique()  # one to one: the same person, the same pseudonym
    users = np.load(shop / "work" / "out" / "users.npz")["keys"]
    assert set(users) == set(ours)
    queries = pq.read_table(shop / "work" / "out" / "queries.parquet").to_pandas()["key"]
    assert set(queries) == set(predicted["query"])
    told = json.loads((shop / "work" / "out" / "why.json").read_text())
    assert told["query"].split()[0] in set(queries)
    assert {one["query"] for one in told["evidence"]["nearest"]} <= set(queries)
    assert next(word["text"] for word in told["words"] if word["role"] == "query") == "word1"
    page = (shop / "work" / "out" / "why.html").read_text()
    assert next(ours for ours, theirs in pairs if theirs == WHO) in page  # asked for by the identifier


@pytest.mark.slow
@pytest.mark.tried("persons", "bad_input")
def test_another_key_is_refused_by_whatever_opens_the_run(shop, tally):
    commands = {
        "predict": ("predict", *ASK, "input=log.csv", "output=out/again.parquet"),
        "rank": ("rank", *ASK, f"query={ASKED}"),
        "resume": ("train", *SMALL, "tuning=lora", "run_dir=failed", "name=shop", "optimizer.lr=1e30", "resume=auto"),
    }
    other = "canary-another-key-0123456789abcdef"
    status, _, said = carried_out(shop, commands, SHOP_KEY=other)
    assert set(status.values()) == {2}
    lines = [line for line in said.splitlines() if line.startswith("error: ")]
    assert len(lines) == 3
    assert all("data.pseudonyms.key=SHOP_KEY holds another key (fingerprint " in line for line in lines)
    assert canaries.in_text(said, [other, SECRETS["SHOP_KEY"], *PERSONS.values()]) == set()
    tally(len(commands))
