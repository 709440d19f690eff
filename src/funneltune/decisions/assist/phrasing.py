"""A decoder says in a sentence what the sources say; the sources stay beside it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from funneltune.backbones import Backbone
from funneltune.backbones.language import language_model

TOKENS = 40


class Phraser:
    """A causal language model that continues `Question: ... Sources: ... Answer:`, greedily.

    What it writes is not checked against the sources, so it is shown under them and never alone.

    Args:
        backbone: A decoder by folder or hub id.

    Raises:
        ConfigError: if it is no decoder, or has no weights here.
    """

    def __init__(self, backbone: Backbone) -> None:
        self.tokenizer = backbone.tokenizer()
        self.model = language_model(backbone, "clm").eval()

    @torch.inference_mode()
    def phrase(self, question: str, sources: Sequence[str]) -> str:
        """The continuation's first line."""
        prompt = f"Question: {question}\nSources: {' / '.join(sources)}\nAnswer:"
        ids = self.tokenizer(prompt, return_tensors="pt", add_special_tokens=False)["input_ids"]
        limit = getattr(self.model.config, "max_position_embeddings", None) or 1024
        ids = ids[:, -(limit - TOKENS) :] if limit > TOKENS else ids[:, -1:]
        made = self.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=min(TOKENS, max(1, limit - ids.shape[1])),
            do_sample=False,
            pad_token_id=self.tokenizer.pad_token_id or self.tokenizer.eos_token_id or 0,
        )
        told = self.tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True)
        return next((line.strip() for line in told.splitlines() if line.strip()), "")
