"""The models that peers train: PEFT's LoRA on a transformer, mean pooling, ESMM's towers and loss, written plainly."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from benchmarks.ours import Ours
from funneltune.backbones import Backbone
from funneltune.heads.single import Single


def esmm_loss(logit_click: Tensor, logit_purchase: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropies of click, and of click and purchase (Ma et al. 2018, eq. 3), in float32."""
    log_click = F.logsigmoid(logit_click.float())
    log_both = log_click + F.logsigmoid(logit_purchase.float())
    click, both = labels.unbind(1)
    not_click = F.logsigmoid(-logit_click.float())
    not_both = torch.log1p(-log_both.exp().clamp(max=1 - 1e-7))
    return -(click * log_click + (1 - click) * not_click).mean() - (both * log_both + (1 - both) * not_both).mean()


def with_lora(model: PreTrainedModel, rank: int = 8, alpha: float = 16.0) -> nn.Module:
    """PEFT's LoRA on query and value, as `tuning=lora` has it."""
    return get_peft_model(model, LoraConfig(r=rank, lora_alpha=alpha, target_modules=["query", "value"]))


def backbone_of(ours: Ours) -> PreTrainedModel:
    """The same weights, fresh, with the same dropout, as transformers loads them."""
    assert isinstance(ours.assembly.backbone, Backbone)
    return ours.assembly.backbone.model()


def towers_of(ours: Ours) -> list[nn.Module]:
    """Copies of our head's towers, in the funnel's order."""
    head = ours.assembly.module.head
    assert isinstance(head, Single)
    return [copy.deepcopy(head.towers[name]) for name in ours.assembly.data.funnel.names]


class PlainModel(nn.Module):
    """Encode every row, pool, score, and return the loss, as a user of transformers would write it."""

    def __init__(self, backbone: nn.Module, towers: list[nn.Module]) -> None:
        super().__init__()
        self.backbone = backbone
        self.click, self.purchase = towers

    def encode(self, ids: Tensor, mask: Tensor, segments: Tensor | None = None) -> Tensor:
        """Mean over a text's tokens."""
        more = {} if segments is None else {"token_type_ids": segments}
        states = self.backbone(input_ids=ids, attention_mask=mask, **more).last_hidden_state
        weights = mask.unsqueeze(-1).float()
        return torch.as_tensor((states * weights).sum(1) / weights.sum(1))

    def score(self, vectors: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Both towers and their loss."""
        return {"loss": esmm_loss(self.click(vectors).squeeze(1), self.purchase(vectors).squeeze(1), labels)}


class PlainTwin(PlainModel):
    """Query and title encoded apart: [u, v, u * v, |u - v|, cos]."""

    def forward(
        self, query_ids: Tensor, query_mask: Tensor, title_ids: Tensor, title_mask: Tensor, labels: Tensor
    ) -> dict[str, Tensor]:
        """The loss of a batch."""
        u, v = self.encode(query_ids, query_mask), self.encode(title_ids, title_mask)
        cosine = F.cosine_similarity(u, v, dim=-1).unsqueeze(-1)
        return self.score(torch.cat([u, v, u * v, (u - v).abs(), cosine], dim=-1), labels)


class PlainCross(PlainModel):
    """Query and title in one sequence."""

    def forward(self, pair_ids: Tensor, pair_mask: Tensor, segments: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The loss of a batch."""
        return self.score(self.encode(pair_ids, pair_mask, segments), labels)


class Textbook(nn.Module):
    """BertForSequenceClassification with two logits: [CLS], pooler, one linear layer."""

    def __init__(self, ours: Ours) -> None:
        super().__init__()
        body = backbone_of(ours)
        config = body.config
        config.num_labels = 2
        model = AutoModelForSequenceClassification.from_config(config, attn_implementation="sdpa")
        model.base_model.load_state_dict(body.state_dict(), strict=False)
        self.model = get_peft_model(
            model, LoraConfig(task_type="SEQ_CLS", r=8, lora_alpha=16.0, target_modules=["query", "value"])
        )

    def forward(self, pair_ids: Tensor, pair_mask: Tensor, segments: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The loss of a batch."""
        logits = self.model(input_ids=pair_ids, attention_mask=pair_mask, token_type_ids=segments).logits
        return {"loss": esmm_loss(logits[:, 0], logits[:, 1], labels)}
