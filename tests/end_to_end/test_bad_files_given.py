"""Files and words that a user gives to the verbs that go on from a run: rankings, requests, tables, starts."""

import shutil

import pandas as pd
import pytest

from damaging import refused
from funneltune.cli import main
from own_log import write_group

QUICK = [
    *("debug=tiny", "trainer.enable_progress_bar=false", "trainer.precision=32-true", "baselines=[]"),
    *("trainer.max_epochs=1", "trainer.limit_train_batches=2"),
    "backbone.architecture.num_hidden_layers=1",
]
SIMULATED = [f"data.source.{word}" for word in ("impressions=300", "items=60", "queries=20", "shoppers=20")]
SHOP = """
  labels: {click: click}
tasks: {click: {rate: ctr}}
split: {_target_: funneltune.data.Split, by: request, validation: 0.2, test: 0.3, seed: 0}
features: {ids: [user, item], numbers: {price: log}, vectors: [], history: 0}
"""
HEADER = "request,user,query,item,title,price"
GOOD = f"{HEADER}\n900,u1,lamp,i1,red lamp,5.0\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a run that reads words of the marketplace, and one that reads the features of a CSV file."""
    folder = tmp_path_factory.mktemp("made")
    words = [*QUICK, *SIMULATED, "tuning=full", f"data.cache_dir={folder / 'cache'}"]
    assert main(["train", *words, "head=esmm", "objective=entire_space_bce", f"run_dir={folder / 'words'}"]) == 0
    rows = [
        (request, f"u{request}", ("lamp", "rug")[request % 2], f"i{item}", f"red {item}", 3.0 + item)
        for request in range(40)
        for item in range(request % 3, request % 3 + 4)
    ]
    log = pd.DataFrame(rows, columns=HEADER.split(","))
    write_group(folder, log.assign(click=(log.index % 3 == 0).astype(int)), SHOP)
    words = ["data=shop", "--config-dir", str(folder / "groups"), "head=single", "objective=masked_bce"]
    words += ["backbone=none", "tuning=frozen", "features=all", "monitor=validation/ctr/auc"]
    words += [word for word in QUICK if "architecture" not in word and word != "debug=tiny"]
    assert main(["train", *words, "logger=none", f"run_dir={folder / 'table'}"]) == 0
    return folder


def put(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def unwritten(capsys, words, output, told):
    """A command that is refused in one line, and leaves nothing at its output."""
    refused(capsys, [*words, f"output={output}"], told)
    assert not output.exists()


RANKINGS = {
    "rules: {at_most: {brand: ": "cannot be read (while parsing a flow node)",
    "- a\n": "must hold settings",
    b"rules: {only: {brand: [caf\xe9]}}": "'utf-8' codec can't decode",
    "rules: hello": "rules='hello' must be a mapping",
    "rules: {boost: {brand: {Acme: .nan}}}": "rules.boost.brand.Acme=nan must be a number >= 0",
    "rules: {pinned: {first: item-000001}}": "places must be whole numbers >= 1",
    "rules: {price: [low, high]}": "must be two numbers >= 0 or null",
    "rules: {stock: nowhere.csv}": "rules.stock=nowhere.csv cannot be read",
    "top: ten": "top=ten must be a whole number",
    "by: 0.5*ctr +": "by='0.5*ctr +' cannot be read",
    "exposure: {column: seller, target: {Acme: 2}}": "exposure.target.Acme=2 must be a share",
    "diversity: {by: [[a]]}": "diversity.by=[['a']] names nothing",
    "!!python/object/apply:os.system ['false']": "could not determine a constructor",
}


@pytest.mark.parametrize("content", RANKINGS, ids=str)
@pytest.mark.tried("bad_config", "bad_input")
def test_a_ranking_that_is_none_is_one_line(made, tmp_path, capsys, content):
    path = put(tmp_path, "mine.yaml", content)
    refused(capsys, ["rank", f"run={made / 'words'}", "query=lamp", f"ranking={path}"], RANKINGS[content])


REQUESTS = {
    "empty.csv": ("", "cannot be read (No columns"),
    "header.csv": ("query\n", "has no row"),
    "latin.csv": (b"query\ncaf\xe9\n", "'utf-8' codec can't decode"),
    "cut.jsonl": ('{"query": "lamp"}\n{"que', "cannot be read"),
    "nested.jsonl": ('{"query": {"a": 1}}\n', "column 'query' has a list or mapping in row 1"),
    "cut.parquet": (b"PAR1", "smaller than the minimum file footer"),
    "late.csv": ("query,time\nlamp,1\nrug,\n", "row 2: time='nan' must be unix seconds"),
    "never.csv": ("query,time\nlamp,inf\n", "row 1: time='inf' must be unix seconds"),
    "fine.csv": ("query,time\nlamp,1700000000000\n", "row 1: time='1700000000000' must be unix seconds"),
    "cheap.csv": ("query,price\nlamp,cheap\n", "price: a request has one that is no number"),
    "unknown.csv": ("query,item\nlamp,nothing\n", "item='nothing' is none of the log's 60 items"),
}


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.tried("bad_table", "bad_input")
def test_requests_that_are_none_are_one_line(made, tmp_path, capsys, name):
    content, told = REQUESTS[name]
    words = ["rank", f"run={made / 'words'}", f"requests={put(tmp_path, name, content)}"]
    unwritten(capsys, words, tmp_path / "pages.csv", told)


TABLES = {
    "new=none.csv": ("item\n,\n", "row 1 has no item"),
    "new=cheap.csv": ("item,title,price\nz,x,cheap\n", "price='cheap' of item='z' must be a number"),
    "new=nested.jsonl": ('{"item": "z", "title": ["x"]}\n', "column 'title' has a list or mapping"),
    "new=twice.csv": ("item,title\nz,x\nz,y\n", "item='z' must be an identifier that no other item has"),
    "rules.stock=cut.parquet": (b"PAR1", "rules.stock="),
    "rules.stock=words.csv": ("item,stock\nitem-000001,many\n", "'many' is no count"),
    "rules.stock=one.csv": ("item\na\n", "has no column stock"),
}


@pytest.mark.parametrize("named", TABLES)
@pytest.mark.tried("bad_table", "bad_input")
def test_items_and_stocks_that_are_none_are_one_line(made, tmp_path, capsys, named):
    key, _, name = named.partition("=")
    content, told = TABLES[named]
    refused(capsys, ["rank", f"run={made / 'words'}", "query=lamp", f"{key}={put(tmp_path, name, content)}"], told)


SCORED = {
    "empty.csv": ("", "is empty; a log needs a header"),
    "header.csv": (f"{HEADER}\n", "has a header but no rows"),
    "lacks.csv": (GOOD.replace("item", "thing", 1), "column 'item' is missing"),
    "quote.csv": (f'{GOOD}901,u1,"lamp', "EOF inside string"),
    "ragged.csv": (f"{GOOD}1,2\n", "row 2 has 2 fields, the header 6"),
    "cheap.csv": (f"{GOOD}901,u1,lamp,i1,red,cheap\n", "holds 'cheap' in row 2"),
    "latin.csv": (GOOD.encode() + b"901,u1,l\xe9mp,i1,red,1\n", "is not utf-8 (line 3"),
    "utf16.csv": (GOOD.encode("utf-16"), "is not utf-8 (it begins with the mark of UTF-16); save it as UTF-8."),
    "cut.parquet": (b"PAR1xx", "smaller than the minimum file footer"),
    "text.csv.gz": (GOOD, "Not a gzipped file"),
    "two.csv": (GOOD.replace("price\n", "price,price\n").replace("5.0", "5.0,6.0"), "names column 'price' 2 times"),
}


@pytest.mark.parametrize("name", SCORED)
@pytest.mark.tried("bad_table", "bad_input")
def test_rows_that_cannot_be_scored_are_one_line(made, tmp_path, capsys, name):
    content, told = SCORED[name]
    words = ["predict", f"run={made / 'table'}", f"input={put(tmp_path, name, content)}"]
    unwritten(capsys, words, tmp_path / "scores.parquet", told)


STARTS = {
    "nowhere": "start=nowhere holds no record.json",
    "{made}": "holds no record.json",
    "{made}/table": "predicts click, and this run click, purchase given click",
    "[{made}/words,{made}/table]": "predicts click, and this run",
    "[[a]]": "must be the folder of a finished run",
    "''": "must be the folder of a finished run",
    "{made}/words seed=7": "has seed=0, and this run 7",
    "{made}/words backbone.architecture.hidden_size=32": "give both the same backbone",
    "{made}/words tuning=lora": "was tuned by tuning=full, and this is tuning=lora",
}


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.tried("bad_config", "bad_input")
def test_a_start_that_this_run_cannot_take_is_one_line(made, tmp_path, capsys, start):
    given, *more = start.format(made=made).split(" ")
    words = [*QUICK, *SIMULATED, "tuning=full", f"data.cache_dir={made / 'cache'}", f"run_dir={tmp_path / 'run'}"]
    words += ["head=esmm", "objective=entire_space_bce", f"start={given}", *more]
    refused(capsys, ["train", *words], "start", STARTS[start])


GIVEN = {
    "data drift --config-dir {made}/groups data=shop data.path=none.csv": "data.path=none.csv is not there",
    "data drift --config-dir {made}/groups data=shop data.split.test=0": "must each lie in (0, 1)",
    "pretrain shop --config-dir {made}/groups backbone=tiny data.path=none.csv run_dir=p": "none.csv is not there",
    "pretrain shop --config-dir {made}/groups backbone=tiny data.texts=null run_dir=p": "this log has no texts",
    "pretrain shop --config-dir {made}/groups backbone=none tuning=frozen run_dir=p": "pretraining is on texts",
    "serve run={made} port=0": "holds no record.json",
    "serve run={made}/words run_b={made}/table port=0": "trained on another log",
    "serve run={made}/words port=eighty": "port=eighty must be a whole number",
    "serve run={made}/words port=0 token_file=none": "token_file=none cannot be read",
    "train {small} vision=nowhere": "vision=nowhere is no choice",
    "train {small} vision=tiny vision.architecture.patch_size=0": "no vision model",
    "train {small} vision=tiny vision.images=[x]": "has no pictures 'x'",
    "assist run={made}/words questions=none.csv": "questions=none.csv is no file",
    "assist run={made}/table question=red": "backbone=none reads no text",
    "retrieve run={made}/words k=99999999999999999999": "and at most 1,000,000",
    "retrieve run={made}/words weight=nan": "weight=nan must be a number",
    "retrieve run={made}/words weights=lexical:inf": "lexical=inf must be a number",
    "rank run={made}/words query=lamp time=nan": "time=nan must be unix seconds",
    "embed run={made}/words input=none.csv output=e.npz": "input=none.csv is no file",
    "evaluate run={made}/words split=train": "split=train must be one of",
    "report {made}/groups": "holds no record.json",
    "report none": "none is not a folder",
}


@pytest.mark.parametrize("command", GIVEN)
@pytest.mark.usefixtures("in_a_folder")
@pytest.mark.tried("bad_config", "bad_input")
def test_a_command_that_cannot_be_carried_out_is_one_line(made, capsys, command):
    small = " ".join([*SIMULATED, "backbone=none tuning=frozen features=all", f"data.cache_dir={made / 'cache'}"])
    refused(capsys, command.format(made=made, small=small).split(" "), GIVEN[command])


ASKED = {
    "q.csv": ("frage\nx\n", "column 'question' is missing"),
    "r.csv": ("item,answer\nx,1\n", "column 'question' is missing"),
    "n.jsonl": ('{"question": ["a"]}\n', "column 'question' has a list or mapping"),
    "c.parquet": (b"PAR1", "smaller than the minimum"),
}


@pytest.mark.parametrize("name", ASKED)
@pytest.mark.tried("bad_table", "bad_input")
def test_questions_that_are_none_are_one_line(made, tmp_path, capsys, name):
    content, told = ASKED[name]
    refused(capsys, ["assist", f"run={made / 'words'}", f"questions={put(tmp_path, name, content)}"], told)


@pytest.mark.tried("bad_table", "bad_input")
def test_a_log_that_is_gone_is_told_when_its_run_is_measured(made, tmp_path, capsys):
    shutil.copytree(made / "table", tmp_path / "run")
    config = (tmp_path / "run" / "config.yaml").read_text().replace(str(made), str(tmp_path))
    (tmp_path / "run" / "config.yaml").write_text(config)
    refused(capsys, ["evaluate", f"run={tmp_path / 'run'}"], "log.csv is not there")
