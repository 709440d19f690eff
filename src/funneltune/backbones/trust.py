"""What a stranger's model folder may say: fields that fetch code, kernels or other files are refused before loading.

`trust_remote_code=False` and safetensors alone do not close the door: config.json has named kernels of the hub
(CVE-2026-4372), an adapter_config.json beside it sends the load to another repository.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from transformers import CONFIG_MAPPING
from transformers.utils import cached_file

from funneltune.errors import ConfigError

CONFIG, ADAPTER = "config.json", "adapter_config.json"
KERNELS = (None, "eager", "sdpa", "flash_attention_2", "flex_attention", "grouped_mm", "batched_mm")
"""Implementations that are transformers' own or an installed package's; any other word may name a hub repository."""
CHOOSES_KERNELS = ("attn_implementation", "experts_implementation")
FETCHES = {
    "quantization_config": "it loads packages and kernels by name, and training needs whole weights",
    "transformers_weights": "it names another file of weights",
    "use_timm_backbone": "it loads a model of another library",
    "use_kernels": "it fetches kernels from the hub",
    "kernel_config": "it fetches kernels from the hub",
}
WRAPPERS = ("timm_wrapper", "timm_backbone", "rag")
"""Architectures that load other models, or pickles."""


def check_home(name: str, revision: str | None = None, key: str = "backbone.name") -> None:
    """Refuse a backbone's home whose files ask for more than weights and numbers; `key` is the config's word for it.

    Raises:
        ConfigError: naming file and field.
    """
    read = _read if Path(name).is_dir() else _remembered
    if read(name, ADAPTER, revision) is not None:
        raise ConfigError(
            f"{key}={name!r} holds {ADAPTER}, which sends the load to another model; name the model, and give "
            "an adapter as tuning.adapter."
        )
    told = read(name, CONFIG, revision) or {}
    faults = list(field_faults(told))
    if told.get("auto_map") and told.get("model_type") not in CONFIG_MAPPING:
        faults.insert(0, f"auto_map asks for code of its own for {told.get('model_type')!r}, which is never run")
    if faults:
        raise ConfigError(f"{key}={name!r}, {CONFIG}: {'; '.join(faults)}; remove the field, or choose another model.")


def field_faults(fields: Any, path: str = "") -> Iterator[str]:
    """What is refused in a model's config, at any depth."""
    if isinstance(fields, (list, tuple)):
        for index, item in enumerate(fields):
            yield from field_faults(item, f"{path}[{index}]")
    if not isinstance(fields, Mapping):
        return
    for key, value in fields.items():
        where, plain = f"{path}.{key}" if path else str(key), str(key).strip("_").removesuffix("_internal")
        if plain in CHOOSES_KERNELS:
            for one in value.values() if isinstance(value, Mapping) else [value]:
                if not (one is None or isinstance(one, str)) or one not in KERNELS:
                    yield f"{where}={value!r} may fetch code; it must be one of {', '.join(map(str, KERNELS))}"
        elif plain in FETCHES and value:
            yield f"{where} is refused: {FETCHES[plain]}"
        elif plain == "model_type" and value in WRAPPERS:
            yield f"{where}={value!r} is refused: it loads other models, or pickles"
        else:
            yield from field_faults(value, where)


def _read(name: str, file: str, revision: str | None) -> dict[str, Any] | None:
    """A JSON file of a model's home; None where there is none."""
    try:
        local = Path(name) / file
        path = local if Path(name).is_dir() else _fetched(name, file, revision)
        if path is None or not path.is_file():
            return None
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"backbone.name={name!r}: {file} cannot be read ({error}); get it again.") from None
    if not isinstance(found, dict):
        raise ConfigError(f"backbone.name={name!r}: {file} holds no mapping; get it again.")
    return found


@cache
def _remembered(name: str, file: str, revision: str | None) -> dict[str, Any] | None:
    """Of the hub, once per process: its files are looked up over a network."""
    return _read(name, file, revision)


def _fetched(name: str, file: str, revision: str | None) -> Path | None:
    try:
        found = cached_file(
            name,
            file,
            revision=revision,
            _raise_exceptions_for_gated_repo=False,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
    except (OSError, ValueError):
        return None  # there is no such model: loading says so
    return Path(found) if found else None
