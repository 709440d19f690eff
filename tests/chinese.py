"""A small BERT that reads Chinese, as a local folder: random weights, every character of the vocabulary a token."""

import json

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import BertConfig, PreTrainedTokenizerFast

from funneltune.marketplace.vocabulary import load_vocabulary

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def write_backbone(folder):
    """Save tokenizer and config to a folder; returns its path."""
    words = load_vocabulary(("home", "fashion", "electronics"), "zh")
    texts = [t for kind in words.types for t in (*kind.titles, *kind.nouns, *kind.uses)]
    texts += [t for a in words.attributes for t in (*a.titles, *a.queries)] + [brand for _, brand in words.brands]
    texts += [t for group in words.groups for t in group.phrases] + [t for o in words.occasions for t in o.phrases]
    ascii_pieces = [chr(c) for c in range(33, 127)] + [f"##{chr(c)}" for c in range(33, 127)]
    pieces = SPECIAL + sorted({c for text in texts for c in text if ord(c) > 127}) + ascii_pieces
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(handle_chinese_chars=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, mask_token="[MASK]", **names).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
    )
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    return folder
