"""Peak memory of a method's training steps on BERT-base shapes, each in a process of its own.

`python -m benchmarks.memory METHOD TEXTS TOKENS` prints it for one method.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

GIVES_BACK = {"MALLOC_TRIM_THRESHOLD_": "131072"}
METHODS: dict[str, dict[str, int]] = {
    "full": {},
    "lora": {"rank": 8},
    "adalora": {"target_rank": 8, "initial_rank": 12},
    "houlsby": {"bottleneck": 64},
    "pfeiffer": {"bottleneck": 64},
    "pfeiffer top 6": {"bottleneck": 64, "top": 6},
    "pfeiffer top 2": {"bottleneck": 64, "top": 2},
}


def measure(method: str, texts: int, tokens: int) -> dict[str, float]:
    """Three steps with AdamW: peak resident megabytes above what the libraries take, and what the backward keeps."""
    import torch
    from transformers import BertConfig, BertModel

    from funneltune import tuning
    from funneltune.backbones import Encoder
    from funneltune.schema import Texts

    torch.manual_seed(0)
    before = status("VmRSS")
    kinds = {kind.name: kind for kind in (tuning.Full, tuning.LoRA, tuning.AdaLoRA, tuning.Houlsby, tuning.Pfeiffer)}
    chosen = kinds[method.partition(" ")[0]](**METHODS[method])
    model = BertModel(BertConfig(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0), add_pooling_layer=False)
    chosen.apply(model)
    encoder = Encoder(model, token_budget=texts * tokens)
    encoder.boundary = chosen.lowest_trained_layer
    encoder.train()
    lengths = torch.full((texts,), tokens)
    batch = Texts(torch.randint(0, 30_000, (texts * tokens,)), lengths, lengths)
    groups = [{k: v for k, v in group.items() if k != "name"} for group in chosen.parameter_groups()]
    optimizer = torch.optim.AdamW(groups, fused=True)
    chosen.begin(100)
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    for step in range(3):
        kept.clear()
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            loss = encoder(batch).square().mean() + chosen.penalty()
        saved = sum(kept.values())
        loss.backward()
        optimizer.step()
        chosen.after_step(step)
        optimizer.zero_grad()
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    peak = status("VmHWM")
    return {
        "peak_mb": peak - before,
        "process_peak_mb": peak,
        "saved_activations_mb": saved / 2**20,
        "gradient_and_adam_mb": 12 * trained / 2**20,
        "trained": trained,
    }


def status(name: str) -> float:
    """Megabytes of this process, by the kernel's name for them. (`ru_maxrss` counts the parent's before `exec`.)"""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(f"{name}:")) / 1024


def measured(method: str, texts: int = 8, tokens: int = 64) -> dict[str, float]:
    """The same in a fresh process, in which glibc gives freed blocks back: else it keeps some, and their fragments are
    a third of a small method's peak (`MALLOC_TRIM_THRESHOLD_` is all that differs from a run).
    """
    words = [sys.executable, "-m", "benchmarks.memory", method, str(texts), str(tokens)]
    environment = os.environ | GIVES_BACK
    said = subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout
    found: dict[str, float] = json.loads(said.splitlines()[-1])
    return found


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
