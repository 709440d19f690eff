"""Parameters, gradients and optimizer state spread over ranks (FSDP2), gathered for evaluations."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from funneltune.backbones import Encoder
from funneltune.backbones.families import family_of


def shard_model(encoder: Encoder, others: Sequence[nn.Module], mesh: DeviceMesh) -> None:
    """Shard each layer of the backbone by itself, then its embeddings, what is left of the encoder, and `others`.

    Layers are units of their own, so that one at a time is whole. A training batch becomes one chunk: a layer is
    gathered and its gradient reduced once per call, and ranks must do so equally often. Called again on a sharded
    model, it does nothing.

    Raises:
        ConfigError: if the backbone's layers are not known.
    """
    if isinstance(encoder, FSDPModule):
        return
    encoder.one_chunk_in_training = True
    over = mesh["data_parallel"]
    layers = encoder.backbone.get_submodule(family_of(encoder.backbone.config).layers)
    assert isinstance(layers, nn.ModuleList)
    for layer in layers:
        fully_shard(layer, mesh=over)
    fully_shard(encoder, mesh=over)
    for module in others:
        if any(True for _ in module.parameters()):
            fully_shard(module, mesh=over)


def gather(module: nn.Module) -> None:
    """Make every parameter whole on every rank, and keep it so through forwards, which ranks may call unequally often.

    All ranks must call it. Nothing to do where nothing is sharded.
    """
    for unit in _units(module):
        unit.set_reshard_after_forward(False, recurse=False)
        unit.unshard()


def release(module: nn.Module) -> None:
    """Shard again what `gather` made whole."""
    for unit in _units(module):
        unit.set_reshard_after_forward(True, recurse=False)
        unit.reshard()


def _units(module: nn.Module) -> list[FSDPModule]:
    return [unit for unit in module.modules() if isinstance(unit, FSDPModule)]
