"""`funneltune price`: what it prints, reads and writes, and what it refuses in one line."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import funneltune
from funneltune.cli import main
from funneltune.decisions.pricing import LoggedPrices, Settings, price_items, wanted
from funneltune.decisions.pricing.causal import Effect, Estimate
from funneltune.decisions.pricing.curve import predicted, sampled
from funneltune.decisions.pricing.picture import picture
from funneltune.decisions.pricing.record import notes, record_of
from funneltune.decisions.requests import logged_requests
from funneltune.decisions.scorer import Scorer
from funneltune.errors import ConfigError
from funneltune.marketplace import world_requests
from funneltune.marketplace.elasticities import true_demand
from funneltune.records import DecisionRecord
from small_market import train

BARE = ("backbone=none", "tuning=frozen", "+data.leaks=ignore")
SHOP = ("data.source.impressions=6000", "data.source.items=60", "data.source.page=10", "data.source.price_spread=0.15")
ITEM = "item-000012"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("price_verb")
    return train(folder, *BARE, *SHOP, "features=all", "trainer.max_steps=20")


@pytest.fixture(scope="module")
def scorer(run):
    return Scorer.of_run(run)


def test_it_prints_the_tables_and_writes_record_curves_and_picture(run, tmp_path, capsys):
    out = tmp_path / "out"
    words = [
        "goal=profit",
        "cost_share=0.6",
        "personas=price_sensitivity",
        "correct=dml",
        "calibration=temperature",
        f"output={out}",
    ]
    assert main(["price", f"run={run}", f"item={ITEM}", *words]) == 0
    printed = capsys.readouterr().out
    for told in ("elasticity", "support", "by group of shoppers", "double machine learning", "marketplace's truth"):
        assert told in printed
    assert f"record: {out / 'decision.json'}" in printed
    tables = [line for line in printed.splitlines() if not line.startswith(("note", "WARNING", "record"))]
    assert max(len(line.rstrip()) for line in tables) <= 80  # a terminal's width, with no number cut
    assert "…" not in "".join(tables)
    record = DecisionRecord.read(out / "decision.json")
    assert record.settings["calibration"].startswith("temperature")
    assert record.numbers[f"{ITEM}/elasticity"]["low"] < record.numbers[f"{ITEM}/elasticity"]["high"]
    assert (out / record.figures[0]).read_bytes()[:4] == b"\x89PNG"
    curves = pd.read_csv(out / "prices.csv")
    assert len(curves) == 13
    now = record.tables["items"]["rows"][0][1]
    np.testing.assert_allclose(curves.price, now * np.linspace(0.7, 1.3, 13), rtol=1e-4)
    profit = (curves.price - 0.6 * now) * curves.purchases_per_1000
    np.testing.assert_allclose(curves.profit_per_1000, profit, rtol=1e-3, atol=1e-2)
    assert main(["price", f"run={run}", f"item={ITEM}", f"output={out}"]) == 2
    assert "exists; name another folder" in capsys.readouterr().err


def test_a_logged_row_at_its_own_price_is_predicted_as_the_run_scores_it(scorer):
    requests = list(logged_requests(scorer))
    item = int(requests[0].items[3])
    places = [one for one in sampled(item, requests, LoggedPrices.of(scorer, "category"), 200) if not one.stand_in]
    assert places
    for place in places[:5]:
        asked = float(place.request.asked.columns["price"][place.number])
        click, purchase = predicted(scorer, item, [place], asked, np.array([1.0, 1.2]))
        said = scorer.score([place.request.asked], [place.request.items])[0]
        assert click[0, 0] == pytest.approx(said["ctr"][place.number], rel=1e-4)
        assert purchase[0, 0] == pytest.approx(said["ctcvr"][place.number], rel=1e-4)
        assert click[0, 1] != pytest.approx(click[0, 0], rel=1e-6)


def test_a_run_that_knows_the_truth_loses_nothing_and_finds_the_true_elasticity(run, scorer, monkeypatch):
    truth = world_requests(run)

    def known(scorer, item, places, now, ratios):
        pages = truth.among(np.array([int(one.request.key) for one in places]))
        return true_demand(pages, item, np.array([one.number for one in places]), now * ratios)

    monkeypatch.setattr("funneltune.decisions.pricing.study.predicted", known)
    settings = Settings(goal="profit", cost_share=0.3, beyond="warn", draws=100)
    found = price_items(scorer, wanted(scorer, settings, ITEM), settings).items[0]
    assert found.advice.regret == pytest.approx(0.0, abs=2e-3)
    assert found.advice.price.value == pytest.approx(found.advice.true_price)
    assert found.point.value == pytest.approx(found.true_point)
    assert -3 < found.point.value < -0.3
    assert found.point_ends[0] < found.point.value < found.point_ends[1]


def selling(monkeypatch, power, level=0.1):
    """A run that predicts demand of one elasticity, whatever the log."""

    def told(scorer, item, places, now, ratios):
        return tuple(level * ratios**power + np.zeros((len(places), 1)) for _ in range(2))

    monkeypatch.setattr("funneltune.decisions.pricing.study.predicted", told)


def test_the_truth_is_told_of_prices_that_may_be_advised_and_of_the_whole_grid(run, scorer, monkeypatch):
    selling(monkeypatch, -0.5)  # shoppers who hardly mind: the dearest price brings most, by the run
    now = wanted(scorer, Settings(), ITEM)[0].now
    settings = Settings(beyond="warn", low=0.9 * now, draws=100)
    study = price_items(scorer, wanted(scorer, settings, ITEM), settings)
    one = study.items[0]
    true = one.curve.prices * one.curve.truth.purchase.mean(axis=0)
    assert true[0] > true[one.allowed].max()  # in truth the cheapest does, which the bound shuts out
    brought = np.interp(np.log(one.advice.price.value), np.log(one.curve.prices), true)
    assert one.advice.regret == pytest.approx(1 - brought / true[one.allowed].max(), abs=2e-3)
    assert one.advice.regret_of_grid == pytest.approx(1 - brought / true.max(), abs=2e-3)
    record = record_of(study, str(run))
    row = dict(zip(record.tables["truth"]["columns"], record.tables["truth"]["rows"][0], strict=True))
    assert row["true_best_allowed"] == pytest.approx(0.9 * now, rel=1e-3)
    assert row["true_best_of_grid"] == pytest.approx(0.7 * now, rel=1e-3)
    assert record.numbers[f"{ITEM}/lost by advice of grid"]["protocol"].endswith("over prices of the whole grid")
    assert any(f"in truth {0.7 * now:.4g} brings most revenue of the grid, which" in note for note in record.notes)
    free = Settings(beyond="warn", draws=100)
    assert not any("in truth" in note for note in notes(price_items(scorer, wanted(scorer, free, ITEM), free)))


@pytest.mark.parametrize("error", [2.0, 0.01])
def test_curves_are_turned_and_prices_advised_only_where_the_log_tells_another_elasticity(scorer, monkeypatch, error):
    selling(monkeypatch, -3.0)
    monkeypatch.setattr(
        "funneltune.decisions.pricing.correction.mean_elasticity", lambda _: Effect(Estimate(-3.0), Estimate(-3.0))
    )
    causal = Effect(Estimate(-2.5, error), Estimate(-2.5, error))
    monkeypatch.setattr("funneltune.decisions.pricing.correction.double_ml", lambda *_: causal)
    settings = Settings(correct="dml", beyond="warn", draws=100)
    study = price_items(scorer, wanted(scorer, settings, ITEM), settings)
    told = notes(study)
    if error < 1:
        assert study.corrected
        assert study.items[0].point.value == pytest.approx(-2.5, abs=1e-6)
        assert any("they differ. Every curve is turned by the difference." in note for note in told)
        assert told[0].startswith(f"{ITEM}: try ")
        return
    assert study.corrected is False
    assert study.items[0].point.value == pytest.approx(-3.0, abs=1e-6)
    assert study.items[0].point_ends[1] - study.items[0].point_ends[0] > error  # what the log leaves open stays in
    assert any("they are not told apart. No curve is turned" in note for note in told)
    assert not any("Every curve" in note or " try " in note for note in told)
    assert "is not advised: the log neither confirms nor corrects the run's elasticity" in told[0]


def test_a_run_by_which_dearer_things_sell_more_advises_no_price(scorer, monkeypatch):
    selling(monkeypatch, 0.1)
    settings = Settings(beyond="warn", draws=100)
    told = notes(price_items(scorer, wanted(scorer, settings, ITEM), settings))
    assert "is not advised: by the run no fewer sell when it is dearer" in told[0]


def test_where_every_price_loses_money_one_line_says_so_and_no_price_is_named(
    run, scorer, monkeypatch, tmp_path, capsys
):
    selling(monkeypatch, -1.5)
    monkeypatch.setattr("funneltune.decisions.scorer.Scorer.of_run", lambda *_: scorer)
    words = [f"item={ITEM}", "goal=profit", "cost=1e6", "draws=100", f"output={tmp_path / 'out'}"]
    assert main(["price", f"run={run}", *words]) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if "no price to advise" in line]
    assert len(said) == 1
    assert said[0].startswith(f"WARNING {ITEM}: no price to advise: none of those that may be (")
    assert "is above its cost of 1e+06, so that no sale earns anything; ask more" in said[0]
    record = DecisionRecord.read(tmp_path / "out" / "decision.json")
    assert said[0] in record.notes
    assert not any("best price" in name or "gained" in name or "lost" in name for name in record.numbers)
    row = dict(zip(record.tables["items"]["columns"], record.tables["items"]["rows"][0], strict=True))
    assert [row[name] for name in ("best", "profit_gained", "from", "to")] == [None] * 4
    assert not any(word in note for note in record.notes for word in ("try ", "keep ", "in truth"))


@pytest.mark.parametrize(("level", "panels"), [(0.1, 5), (None, 3)])
def test_a_truth_far_below_the_run_is_drawn_on_a_scale_of_its_own(scorer, monkeypatch, level, panels):
    settings = Settings(draws=100)
    first = price_items(scorer, wanted(scorer, settings, ITEM), settings).items[0].curve
    true = float(first.truth.purchase.mean(axis=0)[6])
    selling(monkeypatch, -1.5, true if level is None else 100 * true)
    study = price_items(scorer, wanted(scorer, settings, ITEM), settings)
    figure = picture(study)
    figure.draw_without_rendering()
    assert len(figure.axes) == panels
    for axes in figure.axes:
        low, high = axes.get_ylim()
        for line in axes.get_lines():
            if line.get_linestyle() == "--":
                drawn = np.asarray(line.get_ydata())
                assert (drawn.max() - drawn.min()) > 0.1 * (high - low)  # a curve, no line at the bottom
    shown = figure.legends[0].get_window_extent()
    assert not any(shown.overlaps(axes.get_window_extent()) for axes in figure.axes)
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert ("true (scale on the right)" in words) == (panels == 5)
    assert {"95% interval", "predicted", "price now"} <= set(words)


@pytest.mark.parametrize(("power", "warned"), [(-1.5, False), (0.1, True)])
def test_a_run_by_which_dearer_things_sell_no_less_is_warned_of(scorer, monkeypatch, power, warned):
    selling(monkeypatch, power)
    settings = Settings(draws=100)
    found = notes(price_items(scorer, wanted(scorer, settings, ITEM), settings))
    assert any("by the run no fewer sell at a higher price" in note for note in found) == warned


def test_no_price_beyond_the_log_is_advised_unless_asked_for(run):
    wide = {"grid": "0.2:3:15", "item": ITEM, "draws": 100}
    held = funneltune.price(run, **wide)
    curve = pd.DataFrame(held.tables["curve"]["rows"], columns=held.tables["curve"]["columns"])
    assert {"none", "item"} <= set(curve.support)
    assert not curve.advisable[curve.support == "none"].any()
    assert curve.price[curve.advisable].min() <= held.numbers[f"{ITEM}/best price"]["value"]
    assert held.numbers[f"{ITEM}/best price"]["value"] <= curve.price[curve.advisable].max()
    warned = [note for note in held.notes if note.startswith("WARNING")]
    assert "no such price, neither of it nor of its like" in warned[0]
    free = funneltune.price(run, beyond="warn", **wide)
    assert all(row[free.tables["curve"]["columns"].index("advisable")] for row in free.tables["curve"]["rows"])


def test_items_costs_and_bounds_come_from_a_file_and_groups_too(run, tmp_path):
    pd.DataFrame({"item": [ITEM, "item-000003"], "cost": [1.0, None], "low": [None, 0.0]}).to_csv(
        tmp_path / "items.csv", index=False
    )
    users = [f"shopper-{n:06d}" for n in range(30)]
    pd.DataFrame({"user": users, "group": ["odd" if n % 2 else "even" for n in range(30)]}).to_csv(
        tmp_path / "groups.csv", index=False
    )
    record = funneltune.price(
        run, items=tmp_path / "items.csv", goal="profit", cost_share=0.5, personas=tmp_path / "groups.csv", draws=100
    )
    assert [row[0] for row in record.tables["items"]["rows"]] == [ITEM, "item-000003"]
    assert [row[0] for row in record.tables["groups"]["rows"]] == ["even", "odd"]
    assert "curve" not in record.tables


def test_a_log_that_no_one_knows_has_no_truth(run, monkeypatch):
    def unknown(source):
        raise ConfigError("not the marketplace")

    monkeypatch.setattr("funneltune.decisions.pricing.study.world_of", unknown)
    record = funneltune.price(run, item=ITEM, draws=100)
    assert "truth" not in record.tables
    assert f"{ITEM}/true elasticity" not in record.numbers


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["item=item-9"], "item='item-9' is none of the log's 60 items; did you mean"),
        ([], "item=KEY or items=FILE: give one of them"),
        ([f"item={ITEM}", "items=a.csv"], "give one of them, and not both"),
        ([f"item={ITEM}", "grid=1:2"], "grid=1:2 must be LOW:HIGH:PRICES"),
        ([f"item={ITEM}", "grid=a:2:5"], "grid=a must be a number"),
        ([f"item={ITEM}", "grid=2:1:5"], "grid=2:1:5 must be LOW:HIGH:PRICES"),
        ([f"item={ITEM}", "goal=fame"], "goal=fame must be one of revenue, profit"),
        ([f"item={ITEM}", "goal=profit"], "goal=profit needs what item=item-000012 costs"),
        ([f"item={ITEM}", "cost=1", "cost_share=0.5"], "cost=1 and cost_share=0.5 say the same"),
        ([f"item={ITEM}", "cost=1"], "cost=1 says nothing of goal=revenue; add goal=profit"),
        ([f"item={ITEM}", "goal=profit", "cost_share=2"], "cost_share=2 is more than the price; give a share, 0 to 1"),
        ([f"item={ITEM}", "low=-1"], "low=-1 must be a number, 0 or more"),
        ([f"item={ITEM}", "low=9", "high=3"], "low=9 must be <= high=3"),
        ([f"item={ITEM}", "low=1e6"], "leave no price of the grid"),
        ([f"item={ITEM}", "correct=iv"], "correct=iv must be one of none, dml"),
        ([f"item={ITEM}", "beyond=hope"], "beyond=hope must be one of refuse, warn"),
        ([f"item={ITEM}", "requests=1"], "requests=1 must be a whole number, 2 or more"),
        ([f"item={ITEM}", "requests=few"], "requests=few must be a whole number"),
        ([f"item={ITEM}", "draws=5"], "draws=5 must be a whole number, 100 or more"),
        ([f"item={ITEM}", "like=colour"], "like=colour: 'colour' is no column of the log's items"),
        ([f"item={ITEM}", "personas=mood"], "personas=mood is no column of the log's shoppers; they have"),
        ([f"item={ITEM}", "personas=gone.csv"], "personas=gone.csv is no file; name one that ends in"),
        (["items=gone.csv"], "items=gone.csv is no file; name one that ends in"),
        ([f"item={ITEM}", "grid=0.01:0.02:3", "high=10"], "the log has held no price within low=0 and high=10"),
        (["itm=a"], "itm=a is no key here"),
    ],
)
def test_it_refuses_in_one_line(run, words, told, capsys):
    assert main(["price", f"run={run}", *words]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ({"itm": [ITEM]}, "column 'item' is missing"),
        ({"item": [ITEM], "cots": [1]}, "column 'cots' is none of item, cost, low, high"),
        ({"item": [ITEM, ITEM]}, f"item={ITEM} has two rows"),
        ({"item": [ITEM], "cost": ["much"]}, "row 1 has cost=much; it must be money"),
        ({"item": [ITEM], "low": [-1.0]}, "row 1 has low=-1"),
    ],
)
def test_items_that_cannot_be_read_are_refused(run, rows, told, tmp_path, capsys):
    pd.DataFrame(rows).to_csv(tmp_path / "items.csv", index=False)
    assert main(["price", f"run={run}", f"items={tmp_path / 'items.csv'}"]) == 2
    assert told in capsys.readouterr().err


def test_groups_need_both_columns(run, tmp_path, capsys):
    pd.DataFrame({"user": ["a"], "persona": ["b"]}).to_csv(tmp_path / "groups.csv", index=False)
    assert main(["price", f"run={run}", f"item={ITEM}", f"personas={tmp_path / 'groups.csv'}"]) == 2
    assert "column 'group' is missing; it needs user and group" in capsys.readouterr().err


def test_a_run_that_reads_no_price_is_refused_and_told_what_reads_it(scorer, run, monkeypatch, capsys):
    data = scorer.assembly.data
    monkeypatch.setattr("funneltune.decisions.scorer.Scorer.of_run", lambda *_: scorer)
    monkeypatch.setattr(data, "features", replace(data.features, numbers=()))
    assert main(["price", f"run={run}", f"item={ITEM}"]) == 2
    assert "reads no price, so that no price changes what it predicts; train one with features=all" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("column", "words", "told"),
    [
        ("price", [], "its log tells no price of an impression"),
        ("time", ["correct=dml"], "correct=dml needs the time of each impression"),
    ],
)
def test_a_log_without_prices_or_times_is_refused(scorer, run, monkeypatch, capsys, column, words, told):
    store = scorer.assembly.data.store
    has = type(store).has
    monkeypatch.setattr("funneltune.decisions.scorer.Scorer.of_run", lambda *_: scorer)
    monkeypatch.setattr(type(store), "has", lambda self, name: name != column and has(self, name))
    assert main(["price", f"run={run}", f"item={ITEM}", *words]) == 2
    assert told in capsys.readouterr().err
