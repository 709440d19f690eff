"""How unique texts are laid out for a transformer: padded, or several to a row behind a block mask.

Legend: a chunk has R rows of L positions; its texts have T tokens in total.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from funneltune.schema import Texts

PACKED_ROW = 64
"""Tokens of a packed row: long enough to leave little room at the ends, short enough that attention stays cheap."""


@dataclass(frozen=True)
class Chunk:
    """Some of a batch's texts as model input."""

    input_ids: Int[Tensor, "rows positions"]
    token_type_ids: Int[Tensor, "rows positions"]
    position_ids: Int[Tensor, "rows positions"]
    mask: Bool[Tensor, "rows positions"] | Bool[Tensor, "rows 1 positions positions"]
    """True where a position holds a token (padded), or where one position may attend to another (packed)."""
    place: Int[Tensor, " tokens"]
    """Flat position of each token, text by text."""
    text: Int[Tensor, " tokens"]
    """Text of each token, counted within the chunk."""
    lengths: Int[Tensor, " texts"]


def chunks(texts: Texts, token_budget: int, *, packed: bool, causal: bool = False) -> Iterator[Chunk]:
    """Cut a batch's texts into chunks of at most `token_budget` tokens each (at least one text), in their order.

    `causal`: in packed rows a position attends to what comes before it only, as decoders do.
    """
    lengths = texts.lengths.tolist()
    start = begin = 0
    while start < len(lengths):
        end, tokens, longest = start, 0, 0
        while end < len(lengths):
            longest = max(longest, lengths[end])
            tokens = tokens + lengths[end] if packed else longest * (end - start + 1)
            if tokens > token_budget and end > start:
                break
            end += 1
        size = sum(lengths[start:end])
        flat = texts.token_ids[begin : begin + size]
        yield _lay_out(flat, lengths[start:end], texts.first_lengths[start:end], packed=packed, causal=causal)
        start, begin = end, begin + size


def _fit(lengths: list[int], width: int) -> tuple[list[int], int]:
    """Flat position of each text and number of rows: longest first, each into the fullest row that has room.

    Best-fit decreasing wastes next to nothing on short texts, where taking them as they come leaves a tenth empty (a
    fifth for pairs of query and title).
    """
    by_room: list[list[int]] = [[] for _ in range(width + 1)]  # rows by how many positions they have left
    starts, rows = [0] * len(lengths), 0
    for text in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        tokens = lengths[text]
        room = next((room for room in range(tokens, width) if by_room[room]), width)
        if room == width:
            row, rows = rows, rows + 1
        else:
            row = by_room[room].pop()
        starts[text] = row * width + width - room
        by_room[room - tokens].append(row)
    return starts, rows


def _lay_out(
    token_ids: Int[Tensor, " tokens"],
    lengths: list[int],
    first_lengths: Int[Tensor, " texts"],
    *,
    packed: bool,
    causal: bool,
) -> Chunk:
    device = token_ids.device
    width = max(*lengths, min(PACKED_ROW, sum(lengths))) if packed else max(lengths)
    starts, rows = _fit(lengths, width) if packed else ([n * width for n in range(len(lengths))], len(lengths))
    length = torch.tensor(lengths, device=device)
    text = torch.repeat_interleave(torch.arange(len(lengths), device=device), length)
    within = torch.arange(len(text), device=device) - torch.repeat_interleave(length.cumsum(0) - length, length)
    place = torch.tensor(starts, device=device)[text] + within

    def spread(values: Tensor, empty: int = 0) -> Tensor:
        return values.new_full((rows * width,), empty).scatter_(0, place, values).view(rows, width)

    owner = spread(text, empty=-1)
    # Packed: a position attends to its own text, empty ones to one another, so that no row of the mask is empty.
    mask = (owner.unsqueeze(1) == owner.unsqueeze(2)).unsqueeze(1) if packed else owner >= 0
    if packed and causal:
        mask &= torch.ones(width, width, dtype=torch.bool, device=device).tril()
    return Chunk(
        input_ids=spread(token_ids),
        token_type_ids=spread((within >= first_lengths[text]).long()),
        position_ids=spread(within),
        mask=mask,
        place=place,
        text=text,
        lengths=length,
    )
