"""Pictures of a log: each file once, checked when it is kept, encoded once, and none where there is none."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from funneltune.backbones import Vision
from funneltune.data import Simulated, Table, prepare
from funneltune.data.pictures import Named, Pictures, as_png, decoded, encode_pictures
from funneltune.data.sources import pictures as files
from funneltune.data.sources.pictures import files_of
from funneltune.errors import ConfigError, DataError
from funneltune.funnel import TaskFunnel

TASKS = TaskFunnel.from_config({"click": {}})


class Counting:
    """A backbone whose vector is the mean colour; it counts what it sees."""

    def __init__(self, key="a"):
        self.seen, self._key = 0, key

    def key(self):
        return self._key

    def encode(self, pictures):
        self.seen += len(pictures)
        return np.stack([picture.reshape(-1, 3).mean(axis=0) for picture in pictures]).astype(np.float32)


def coloured(colour, size=(9, 7)):
    return as_png(np.full((*size, 3), colour, dtype=np.uint8))


@pytest.fixture
def shop(tmp_path):
    """A log of six rows and four items: two share a picture, one has none."""
    (tmp_path / "photos").mkdir()
    for name, colour in (("red.png", (200, 0, 0)), ("blue.png", (0, 0, 200))):
        (tmp_path / "photos" / name).write_bytes(coloured(colour))
    frame = pd.DataFrame(
        {
            "q": ["a", "a", "b", "b", "c", "c"],
            "item": ["i1", "i2", "i1", "i3", "i4", "i2"],
            "title": ["one", "two", "one", "three", "four", "two"],
            "photo": ["red.png", "blue.png", "red.png", "red.png", "", "blue.png"],
            "click": [1, 0, 0, 1, 0, 1],
        }
    )
    frame.to_csv(tmp_path / "log.csv", index=False)
    return tmp_path


def table(folder, **more):
    arguments = {
        "item": "item",
        "item_text": {"title": "title"},
        "query_text": {"query": "q"},
        "labels": {"click": "click"},
        "images": {"photo": "photo"},
        "image_folder": "photos",
    } | more
    return Table(folder / "log.csv", **arguments)


def test_each_distinct_file_is_kept_and_encoded_once_and_an_item_without_one_has_zeros(shop):
    source, encoder = table(shop), Counting()
    store = encode_pictures(prepare(source, TASKS, shop / "cache"), source, encoder, ["photo"])
    assert encoder.seen == 2
    keys = store.table("items").column("key").to_pylist()
    found = dict(zip(keys, store.vectors("photo").tolist(), strict=True))
    assert found == {"i1": [200, 0, 0], "i2": [0, 0, 200], "i3": [200, 0, 0], "i4": [0, 0, 0]}
    kept = Pictures(store.folder / "pictures-photo")
    assert len(kept) == 2
    assert kept.of_item.tolist() == [[0, 1, 0, -1][keys.index(key)] for key in keys]


def test_vectors_are_found_again_by_backbone_and_pictures(shop):
    source, first = table(shop), Counting()
    encode_pictures(prepare(source, TASKS, shop / "cache"), source, first, ["photo"])
    again, other = Counting(), Counting("b")
    encode_pictures(prepare(source, TASKS, shop / "cache"), source, again, ["photo"])
    encode_pictures(prepare(source, TASKS, shop / "cache"), source, other, ["photo"])
    assert (first.seen, again.seen, other.seen) == (2, 0, 2)
    before = source.describe()
    (shop / "photos" / "red.png").write_bytes(coloured((100, 0, 0)))
    assert table(shop).describe() != before  # another picture, another log
    changed = table(shop)
    store = encode_pictures(prepare(changed, TASKS, shop / "cache"), changed, again, ["photo"])
    assert again.seen == 2
    assert store.vectors("photo")[:, 0].max() == 100


def test_a_table_without_pictures_is_the_log_it_was(shop):
    told = table(shop, images=None, image_folder=None).describe()
    assert "images" not in told
    assert "photo" not in told["roles"]


HOSTILE = {
    "cut.png": coloured((1, 2, 3), (64, 64))[:-40],
    "text.png": b"<script>alert(1)</script>",
    "empty.jpg": b"",
    "page.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
}


@pytest.mark.parametrize("name", list(HOSTILE))
@pytest.mark.tried("bad_table", "bad_input")
def test_a_broken_file_is_refused_in_one_line_that_names_it(shop, name):
    (shop / "photos" / name).write_bytes(HOSTILE[name])
    log = (shop / "log.csv").read_text().replace("blue.png", name)
    (shop / "log.csv").write_text(log)
    source = table(shop)
    store = prepare(source, TASKS, shop / "cache")
    with pytest.raises(DataError, match=rf"column 'photo' names '{name}', which cannot be read as a picture") as told:
        encode_pictures(store, source, Counting(), ["photo"])
    assert "\n" not in str(told.value)
    assert not (store.folder / "pictures-photo").exists()


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("lost.png", "names 'lost.png', which cannot be opened \\(No such file"),
        ("../log.csv", "names '../log.csv', which lies outside"),
        ("/etc/hostname", "which lies outside"),
    ],
)
@pytest.mark.tried("bad_table", "bad_input")
def test_files_that_are_lost_or_lie_elsewhere_are_refused(shop, place, message):
    with pytest.raises(DataError, match=message):
        list(files_of("photo", [place], shop / "photos"))


@pytest.mark.tried("bad_table", "bad_input")
def test_a_link_that_leads_out_of_the_folder_is_refused(shop):
    (shop / "photos" / "out.png").symlink_to(shop / "log.csv")
    with pytest.raises(DataError, match="lies outside"):
        list(files_of("photo", ["out.png"], shop / "photos"))


@pytest.mark.tried("bad_table", "bad_input")
def test_files_and_pictures_that_are_too_large_are_refused(shop, monkeypatch):
    monkeypatch.setattr(files, "LARGEST_FILE", 20)
    with pytest.raises(DataError, match="which is larger than 20 bytes"):
        list(files_of("photo", ["red.png"], shop / "photos"))
    monkeypatch.setattr("funneltune.data.pictures.LARGEST_FILE", 20)
    with pytest.raises(DataError, match="bytes, more than 20"):
        decoded(Named(coloured((1, 1, 1)), "it"))
    monkeypatch.undo()
    monkeypatch.setattr("funneltune.data.pictures.MOST_PIXELS", 8)
    with pytest.raises(DataError, match="9 x 7 pixels, more than 8|7 x 9 pixels, more than 8"):
        decoded(Named(coloured((1, 1, 1)), "it"))


def test_other_kinds_of_pictures_become_red_green_and_blue():
    def stored(image, kind):
        file = io.BytesIO()
        image.save(file, format=kind)
        return decoded(Named(file.getvalue(), "it"))

    assert stored(Image.new("L", (4, 5), 7), "JPEG").shape == (5, 4, 3)
    assert stored(Image.new("P", (4, 5)), "PNG").shape == (5, 4, 3)
    assert (stored(Image.new("RGBA", (4, 5), (0, 0, 0, 0)), "PNG") == 255).all()  # what is clear shows white
    with pytest.raises(DataError, match="must be a whole JPEG, PNG, WEBP file"):
        stored(Image.new("RGB", (4, 5)), "GIF")


def test_names_that_no_log_has_are_told(shop):
    source = table(shop)
    store = prepare(source, TASKS, shop / "cache")
    with pytest.raises(ConfigError, match="data.source.images has no 'foto'; it has photo"):
        encode_pictures(store, source, Counting(), ["foto"])
    with pytest.raises(ConfigError, match="the log has no pictures 'photo'; only tables"):
        encode_pictures(store, object(), Counting(), ["photo"])


@pytest.mark.tried("bad_table", "bad_input")
def test_a_log_none_of_whose_items_has_a_picture_is_refused(shop):
    text = (shop / "log.csv").read_text()
    (shop / "log.csv").write_text(text.replace("red.png", "").replace("blue.png", ""))
    source = table(shop)
    with pytest.raises(DataError, match="no item has a picture 'photo'; set vision=none"):
        encode_pictures(prepare(source, TASKS, shop / "cache"), source, Counting(), ["photo"])


@pytest.mark.tried("bad_table", "bad_input")
def test_vectors_that_are_not_finite_are_refused(shop):
    class Broken(Counting):
        def encode(self, pictures):
            return np.full((len(pictures), 2), np.nan, np.float32)

    source = table(shop)
    with pytest.raises(DataError, match="vectors that are not finite"):
        encode_pictures(prepare(source, TASKS, shop / "cache"), source, Broken(), ["photo"])


def test_the_marketplace_draws_its_photographs_when_they_are_asked_for_and_its_log_stays_what_it_was(tmp_path):
    source = Simulated(impressions=300, items=60, queries=20, shoppers=20, page=5)
    assert "images" not in source.describe()
    store = prepare(source, TASKS, tmp_path)
    assert not (store.folder / "pictures-photo").exists()
    tiny = Vision(
        "tiny",
        pretrained=False,
        pooling="mean",
        architecture={
            "model_type": "vit",
            "image_size": 32,
            "patch_size": 8,
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 16,
        },
    )
    encode_pictures(store, source, tiny, ["photo"])
    assert store.vectors("photo").shape == (60, 16)
    assert np.ptp(store.vectors("photo"), axis=0).min() > 0
    with pytest.raises(ConfigError, match="the marketplace has no pictures 'foto'; it has photo"):
        encode_pictures(store, source, tiny, ["foto"])


def test_paths_begin_where_the_log_lies(tmp_path):
    assert files.folder_of(tmp_path, None) == tmp_path
    assert files.folder_of(Path("logs/log.csv"), "photos") == Path("logs/photos")
