"""No message of a faulty log tells who someone is or what they asked, pseudonyms or none."""

import pandas as pd
import pytest

from funneltune.cli import main

WHO, ASKED, VISIT = "canary-shopper-7", "canary of the query", "canary-visit-9"
CANARIES = (WHO, ASKED, VISIT, "canary")
COLUMNS = ["visit", "who", "asked", "item", "title", "at", "price", "grade", "click", "purchase", "since"]
MAP = """
path: {log}
source:
  _target_: funneltune.data.Table
  path: ${{data.path}}
  request: visit
  user: who
  query_text: {{query: asked}}
  item: item
  item_text: {{title: title}}
  time: at
  price: price
  grade: grade
  labels: {{click: click, purchase: purchase}}
  delays: {{purchase: {{column: since, unit: days}}}}
{more}
tasks: {{click: {{rate: ctr}}, purchase: {{given: [click], rate: cvr, joint_rate: ctcvr, window: 30}}}}
split: {{_target_: funneltune.data.Split, by: request, validation: 0.2, test: 0.3, seed: 0}}
texts: {{query: "{{query}}", item: "{{title}}"}}
rows_per_batch: 14
cache_dir: {folder}/cache
"""


def log():
    """Rows of which the fourth has the canaries; clean."""
    frame = pd.DataFrame({name: [f"{name}{n % 7}" for n in range(40)] for name in COLUMNS})
    frame["at"], frame["price"], frame["grade"] = [str(n) for n in range(1000, 1040)], "2.5", "1"
    frame["click"], frame["purchase"], frame["since"] = [str(n % 2) for n in range(40)], "0", ""
    frame.loc[3, ["visit", "who", "asked", "purchase", "since"]] = [VISIT, WHO, ASKED, "1", "2"]
    return frame


def refusal(folder, frame, capsys, more="", header=True, separator=","):
    """What the terminal shows of a log that cannot be used."""
    frame.to_csv(folder / "log.csv", index=False, header=header, sep=separator)
    (folder / "groups" / "data").mkdir(parents=True, exist_ok=True)
    (folder / "groups" / "data" / "shop.yaml").write_text(MAP.format(log=folder / "log.csv", folder=folder, more=more))
    words = ["data", "validate", "data=shop", "backbone=tiny", "--config-dir", str(folder / "groups")]
    assert main(words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
    return shown.err.lower()


def test_the_log_itself_can_be_used(tmp_path, capsys):
    with pytest.raises(AssertionError):
        refusal(tmp_path, log(), capsys)
    assert "the log can be used" in capsys.readouterr().out


@pytest.mark.tried("persons", "canary")
@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("fault", ["empty", "who", "asked", "visit"])
def test_a_fault_in_any_column_tells_no_person(column, fault, tmp_path, capsys, tally):
    """A cell that is empty, and cells of persons that slipped into another column."""
    frame = log()
    frame.loc[3, column] = {"empty": "", "who": WHO, "asked": ASKED, "visit": VISIT}[fault]
    if column in ("title", "visit", "who", "asked", "item") and fault != "empty":
        frame.loc[9, "click"] = "no label"  # texts and identifiers may be anything: another fault beside them
    if column == "since" and fault == "empty":
        frame.loc[3, "price"] = ASKED
    told = refusal(tmp_path, frame, capsys)
    assert "canary" not in told
    tally(len(CANARIES))


@pytest.mark.tried("persons", "canary")
@pytest.mark.parametrize(
    "case",
    ["no header", "another separator", "short row", "long row", "key of a join", "headless join", "rule", "repeats"],
)
def test_a_fault_of_the_whole_tells_no_person(case, tmp_path, capsys, tally):
    frame, more, options = log().iloc[[3, *range(3), *range(4, 40)]], "", {}
    if case == "no header":
        options = {"header": False}
    elif case == "another separator":
        options = {"separator": ";", "header": False}
    elif case in ("short row", "long row"):
        frame = frame.assign(asked=frame["asked"].mask(frame["asked"] == ASKED, ASKED.replace(" of ", ", ")))
        more = "  quotes: false\n" if case == "long row" else ""
        frame.loc[3, "click"] = WHO
    elif "join" in case:
        people = pd.DataFrame({"who": [f"who{n}" for n in range(7)] + [WHO] * (case == "headless join"), "age": 3})
        people.iloc[::-1].to_csv(tmp_path / "people.csv", index=False, header=case != "headless join")
        more = "  joins: [{path: people.csv, by: [who], columns: [age]}]\n  numeric: [age]\n"
    elif case == "rule":
        more = "  schema: {who: {pattern: 'who[0-9]'}, asked: {pattern: 'asked[0-9]'}, visit: {one_of: [visit0]}}\n"
    else:
        frame, more = pd.concat([frame, frame.iloc[:1]]), "  duplicates: refuse\n"
    told = refusal(tmp_path, frame, capsys, more, **options)
    assert "canary" not in told
    tally(len(CANARIES))


@pytest.mark.tried("persons", "canary")
@pytest.mark.parametrize(
    "words",
    [
        ["rank", "run=x", f"query={ASKED}", "requests=a.csv", "output=b.csv"],
        ["rank", "run=x", f"user={WHO}", "split=test"],
        ["rank", "run=x", f"query={ASKED}", f"query={ASKED}"],
        ["rank", "run=x", f"qury={ASKED}"],
        ["need", "run=x", f"usr={WHO}"],
        ["explain", "run=x", f"query={ASKED}", f"user={WHO}", "split=test", "row=1"],
    ],
)
def test_what_was_typed_as_query_or_shopper_is_not_repeated(words, capsys, in_a_folder):
    assert main(words) == 2
    assert "canary" not in capsys.readouterr().err
