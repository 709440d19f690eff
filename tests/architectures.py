"""Tiny random models of every architecture: three layers, width 32."""

from transformers import AutoConfig, AutoModel

BERT = {"num_hidden_layers": 3, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 99}
TINY = {
    "bert": BERT,
    "electra": BERT | {"embedding_size": 32},
    "roberta": BERT,
    "xlm-roberta": BERT,
    "camembert": BERT,
    "deberta-v2": BERT
    | {"relative_attention": True, "position_buckets": 16, "pos_att_type": ["p2c", "c2p"], "share_att_key": True},
    "distilbert": {"n_layers": 3, "dim": 32, "n_heads": 2, "hidden_dim": 64, "vocab_size": 99},
    "modernbert": BERT | dict.fromkeys(("bos_token_id", "cls_token_id"), 1) | {"pad_token_id": 0, "eos_token_id": 2},
    "gpt2": {"n_layer": 3, "n_embd": 32, "n_head": 2, "vocab_size": 99, "bos_token_id": 1, "eos_token_id": 2},
    "qwen2": BERT | {"num_key_value_heads": 1},
    "qwen3": BERT | {"num_key_value_heads": 1, "head_dim": 16},
    "llama": BERT | {"num_key_value_heads": 1},
    "mistral": BERT | {"num_key_value_heads": 1},
}


def build(model_type):
    """A random model in evaluation mode."""
    return AutoModel.from_config(AutoConfig.for_model(model_type, **TINY[model_type])).eval()
