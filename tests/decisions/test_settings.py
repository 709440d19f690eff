"""A ranking's settings, from YAML and from a command line; every named one that ships."""

from pathlib import Path

import pytest

from funneltune.decisions.exposure import Exposure
from funneltune.decisions.rules import Rules
from funneltune.decisions.settings import Diversity, Ranking
from funneltune.errors import ConfigError

NAMED = sorted((Path(__file__).parents[2] / "configs" / "ranking").glob("*.yaml"))


def test_settings_that_are_not_named_have_their_defaults():
    assert Ranking.from_config({}) == Ranking()
    assert Ranking.from_config({"diversity": None, "rules": None, "exposure": None}).is_plain
    assert not Ranking.from_config({"rules": {"at_most": {"brand": 2}}}).is_plain


def test_parts_are_what_they_say():
    found = Ranking.from_config(
        {
            "by": "revenue",
            "top": 5,
            "diversity": {"weight": 0.4, "by": ["brand", "category"]},
            "rules": {"only": {"brand": "Acme"}, "price": [1, None], "pinned": {2: "x"}},
            "exposure": {"column": "seller", "target": {"s": 0.5}},
        }
    )
    assert (found.by, found.top) == ("revenue", 5)
    assert found.diversity == Diversity(0.4, ["brand", "category"])
    assert found.diversity.columns == ["brand", "category"]
    assert Diversity(by="brand").columns == ["brand"]
    assert Diversity().columns == []
    assert found.rules == Rules(only={"brand": ["Acme"]}, price=[1, None], pinned={2: "x"})
    assert found.exposure == Exposure("seller", {"s": 0.5})


def test_a_file_is_changed_by_dotted_keys_and_mappings_join(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("top: 3\nrules: {at_most: {brand: 2}, stock: left}\n")
    found = Ranking.read(path, {"top": 4, "rules": {"price": [1, 2]}, "diversity.weight": 0.2, "rules.stock": "other"})
    assert (found.top, found.diversity.weight) == (4, 0.2)
    assert found.rules == Rules(stock="other", price=[1, 2], at_most={"brand": 2})
    assert Ranking.read(None, {"exposure.column": "brand"}).exposure == Exposure("brand")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"tpo": 3}, "tpo is no setting of a ranking; did you mean 'top'"),
        ({"zzzz": 3}, "zzzz is no setting of a ranking; there are candidates"),
        ({"rules": {"stok": "a"}}, "rules.stok is no setting of a ranking; did you mean 'stock'"),
        ({"top": 0}, "top=0 must be a whole number, 1 or more"),
        ({"depth": "many"}, "depth=many must be a whole number"),
        ({"by": 3}, "by=3 must be a word"),
        ({"rules": 3}, "rules=3 must be a mapping of stock"),
        ({"rules": {"price": 3}}, "rules.price=3 must be two numbers"),
        ({"rules": {"boost": {"brand": 2}}}, "must be factors by column and value"),
        ({"exposure": {"target": "merit"}}, "exposure.column is missing"),
        ({"diversity": {"weight": 1.5}}, r"diversity.weight=1.5 must lie in \[0, 1\]"),
        ({"diversity": {"by": []}}, r"diversity.by=\[\] names nothing"),
        ({"diversity": {"pool": 0}}, "diversity.pool=0 must be a whole number >= 1"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(given, told):
    with pytest.raises(ConfigError, match=told):
        Ranking.from_config(given)


@pytest.mark.parametrize(("text", "told"), [("top: [", "cannot be read"), ("- 3", "must hold settings")])
def test_a_file_that_holds_no_settings_is_told(tmp_path, text, told):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=told):
        Ranking.read(path, {})
    with pytest.raises(ConfigError, match="cannot be read"):
        Ranking.read(tmp_path / "gone.yaml", {})


@pytest.mark.parametrize("path", NAMED, ids=[path.stem for path in NAMED])
def test_every_ranking_that_ships_is_one(path):
    assert isinstance(Ranking.read(path, {}), Ranking)
