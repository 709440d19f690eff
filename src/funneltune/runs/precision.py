"""The trainer's precision, chosen for the machine where the config says `auto`."""

from __future__ import annotations

import torch
from omegaconf import DictConfig

from funneltune.errors import ConfigError

KNOWN = ("auto", "32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true")


def resolve_precision(precision: str, accelerator: str) -> str:
    """`auto` becomes `bf16-mixed` where the hardware multiplies bfloat16 natively, else `32-true`; others pass.

    On CPUs without AVX512-BF16 or AMX, bfloat16 is emulated and slower than float32.

    Raises:
        ConfigError: for a word that is none, and for float16 on a CPU, where Lightning would quietly take bfloat16.
    """
    if precision == "16-mixed" and accelerator == "cpu":
        raise ConfigError("trainer.precision=16-mixed needs a GPU; on a CPU use bf16-mixed or 32-true.")
    if precision not in KNOWN:
        raise ConfigError(f"trainer.precision={precision!r} must be one of {', '.join(KNOWN)}.")
    if precision != "auto":
        return precision
    if accelerator in {"gpu", "cuda", "auto"} and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    return "bf16-mixed" if _cpu_multiplies_bfloat16() else "32-true"


def is_low_precision(trainer: DictConfig) -> bool:
    """Whether each process holds a whole encoder whose products are bfloat16's."""
    precision = resolve_precision(str(trainer.get("precision", "auto")), str(trainer.accelerator))
    return precision == "bf16-mixed" and trainer.get("strategy") != "fsdp2"


def chosen_precision(trainer: DictConfig) -> str | None:
    """What `auto` became, in words; None where the config says it by itself, or the default is left as it is."""
    if trainer.get("precision", "auto") != "auto" or resolve_precision("auto", str(trainer.accelerator)) == "32-true":
        return None
    return "precision: bf16-mixed, which this machine multiplies natively (trainer.precision=32-true for float32)"


def _cpu_multiplies_bfloat16() -> bool:
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16"))
