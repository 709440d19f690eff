"""The run's forward as graphs want it: one padded text a row, tensors in, tensors out, no layout of its own.

Legend: N texts (or rows) of L positions; text vectors are W wide.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from funneltune.backbones import Encoder
from funneltune.backbones.attention import as_bias
from funneltune.metrics import Scaling
from funneltune.metrics.calibration import SMALLEST_P
from funneltune.metrics.scaling import Isotonic, Platt, Temperature
from funneltune.modules import FunnelModule
from funneltune.schema import SHARED, Batch, FeatureNeeds, Texts, predictions


class PaddedEncoder(nn.Module):
    """Texts padded on the right to their vectors: what `Encoder` computes of the same texts, however it lays them out.

    Args:
        encoder: In evaluation mode, with one set of weights.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.backbone, self.pooling = encoder.backbone, encoder.pooling
        self.layered, self.family = encoder.layered, encoder.family
        self.packs = self.family is not None and self.family.packs
        config = encoder.backbone.config
        self.first_position = int(config.pad_token_id) + 1 if self.family and self.family.after_padding else 0
        self.segments = getattr(config, "type_vocab_size", 0) > 1
        """Whether the backbone tells two texts of a pair apart."""
        self.inputs = ["input_ids", "attention_mask", *(["token_type_ids"] if self.segments else [])]

    def forward(
        self,
        input_ids: Int[Tensor, "texts positions"],
        attention_mask: Int[Tensor, "texts positions"],
        token_type_ids: Int[Tensor, "texts positions"] | None = None,
    ) -> Float[Tensor, "texts width"]:
        """A vector per text; `attention_mask` is 1 where a token is, `token_type_ids` 1 in a pair's second text."""
        there = attention_mask.bool()
        states = self._states(input_ids, there, token_type_ids).float()
        if self.pooling == "cls":
            return states[:, 0]
        lengths = attention_mask.sum(1)
        if self.pooling == "last":
            last = (lengths - 1)[:, None, None].expand(-1, 1, states.shape[2])
            return states.gather(1, last).squeeze(1)
        return (states * there.unsqueeze(2)).sum(1) / lengths.unsqueeze(1)

    def _states(self, ids: Tensor, there: Tensor, segments: Tensor | None) -> Tensor:
        arguments = {"token_type_ids": segments} if segments is not None else {}
        positions = torch.arange(ids.shape[1], device=ids.device).unsqueeze(0) + self.first_position
        if self.layered:
            if segments is None:
                arguments = {"token_type_ids": torch.zeros_like(ids)}
            states: Tensor = self.backbone.embeddings(input_ids=ids, position_ids=positions, **arguments)
            bias = as_bias(there[:, None, None, :], states.device, states.dtype)
            for layer in self.backbone.encoder.layer:
                states = layer(states, bias)
            return states
        mask = there.long()
        if self.packs:  # a mask of rows and columns is taken as it is, whatever the attention's kernel
            arguments |= {"position_ids": positions}
            mask = there[:, None, None, :]
            if self.family is not None and self.family.decoder:
                length = ids.shape[1]
                mask = mask & torch.ones(length, length, dtype=torch.bool, device=ids.device).tril()
            else:
                mask = mask.expand(-1, 1, ids.shape[1], -1)
        return self.backbone(input_ids=ids, attention_mask=mask, **arguments).last_hidden_state  # type: ignore[no-any-return]


class PlainScorer(nn.Module):
    """Text vectors and features of one request's candidates to the probabilities of its rates.

    The inputs, in this order, those that the run reads (`inputs`): `query` (1, W) and `items` (N, W), or `pairs`
    (N, W); `ids` (N, ids) buckets, `numbers` (N, numbers), `vectors` (N, width); of the shopper's past `past` (M, W)
    with `past_there` (M,) or `past_ids` (M,) with the candidates' own `candidate` (N,), -1 where nothing is.

    Args:
        module: The run, in evaluation mode.
        needs: What it reads beside texts.
        scalings: Method -> rate -> scaling; each method is a further output.
    """

    def __init__(self, module: FunnelModule, needs: FeatureNeeds, scalings: dict[str, dict[str, Scaling]]) -> None:
        super().__init__()
        self.module, self.needs = module, needs
        self.scalings = scalings
        interaction = type(module.interaction).__name__
        texts = {"TwinInteraction": ["query", "items"], "CrossInteraction": ["pairs"]}.get(interaction, [])
        past = ["past_ids", "candidate"] if needs.history_ids else ["past", "past_there"]
        wanted = {"ids": needs.ids, "numbers": needs.numbers, "vectors": needs.vectors}
        self.inputs: list[str] = [*texts, *(n for n, some in wanted.items() if some), *(past if needs.history else [])]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """(N, columns) of `TaskFunnel.predicted`: as predicted, then by each scaling."""
        given = dict(zip(self.inputs, inputs, strict=True))
        batch, vectors = self._batch(given)
        found = self.module.scales.restore(predictions(self.module.score(batch, {SHARED: vectors}), self.module.funnel))
        raw = {n: v.double().exp() if n.startswith("p_") else v.double() for n, v in found.items()}
        return tuple(
            torch.stack(list(each.values()), dim=1).float()
            for each in (raw, *(self._scaled(raw, by_rate) for by_rate in self.scalings.values()))
        )

    def _batch(self, given: dict[str, Tensor]) -> tuple[Batch, Tensor]:
        rows = next(t for n, t in given.items() if n not in ("query", "past", "past_there", "past_ids"))
        n = rows.shape[0]
        number = torch.arange(n, device=rows.device)
        pointers = {"pair": number}
        vectors = given.get("pairs", rows.new_zeros(n, 0, dtype=torch.float32))
        history = None
        if "query" in given:
            pointers = {"query": torch.zeros_like(number), "item": number + 1}
            vectors = torch.cat([given["query"], given["items"]])
        if "past" in given:
            events = torch.arange(given["past"].shape[0], device=rows.device) + 1 + n
            history = torch.where(given["past_there"] > 0, events, -1).unsqueeze(0).expand(n, -1)
            vectors = torch.cat([vectors, given["past"]])
        if "past_ids" in given:
            history = given["past_ids"].unsqueeze(0).expand(n, -1)
        none = torch.zeros(0, dtype=torch.long)
        batch = Batch(
            texts=Texts(none, none, none),
            text_of_row=pointers,
            labels={},
            observed={},
            request=torch.zeros_like(number),
            row=number,
            history=history,
            ids=given.get("ids"),
            numbers=given.get("numbers"),
            vectors=given.get("vectors"),
            candidate=given.get("candidate"),
        )
        return batch, vectors

    def _scaled(self, raw: dict[str, Tensor], by_rate: dict[str, Scaling]) -> dict[str, Tensor]:
        """As `metrics.scaled` has it: conditional rates by their scaling, joint ones multiplied anew."""
        found, funnel = dict(raw), self.module.funnel
        p: dict[str, Tensor] = {}
        for task in funnel.binary:
            said = raw[f"p_{task.conditional}"]
            p[task.name] = scaled(said, by_rate[task.rate]) if task.rate in by_rate else said
            way = p[task.name]
            for edge in funnel.way_to(task.name):
                way = way * (p[edge.name] if edge.holds else 1.0 - p[edge.name])
            found |= {f"p_{task.conditional}": p[task.name], f"p_{task.joint}": way}
        return found


def scaled(p: Float[Tensor, " rows"], scaling: Scaling) -> Float[Tensor, " rows"]:
    """`Scaling.apply` in tensors of float64."""
    if isinstance(scaling, Isotonic):
        said = torch.tensor(scaling.said, dtype=torch.float64)
        likely = torch.tensor(scaling.likely, dtype=torch.float64)
        if len(said) == 1:
            return torch.zeros_like(p) + likely
        inside = torch.minimum(torch.maximum(p, said[0]), said[-1])
        left = ((inside.unsqueeze(1) >= said).sum(1) - 1).clamp(0, len(said) - 2)
        share = (inside - said[left]) / (said[left + 1] - said[left])
        return likely[left] + share * (likely[left + 1] - likely[left])
    inside = p.clamp(SMALLEST_P, 1.0 - SMALLEST_P)
    z = torch.log(inside) - torch.log1p(-inside)
    if isinstance(scaling, Temperature):
        return torch.sigmoid(z / scaling.temperature)
    assert isinstance(scaling, Platt)
    return torch.sigmoid(scaling.slope * z + scaling.intercept)
