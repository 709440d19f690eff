"""What the README says of speed is what the record says."""

import json
from pathlib import Path

from benchmarks.__main__ import KEYS
from benchmarks.sections import ALL

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "benchmarks" / "records" / "amd-epyc-2-cores-2026-11-25.json"


def test_the_record_is_of_every_section_and_key():
    record = json.loads(RECORD.read_text())
    assert tuple(record["keys"]) == KEYS
    assert None not in record["keys"].values()
    assert set(record["sections"]) == set(ALL)


def test_the_readmes_figures_are_the_records():
    record, readme = json.loads(RECORD.read_text()), " ".join((ROOT / "README.md").read_text().split())
    twin, keys = record["sections"]["twin"], record["keys"]
    for batch, peers in (("128", ["hf"]), ("2,048", ["hf", "hf_in_pieces", "sentence_transformers", "textbook"])):
        seen = twin[f"{batch.replace(',', '')} rows, bf16-mixed"]
        for peer in peers:
            rates = (seen["rows_per_second"][side] for side in ("ours", peer))
            shown = " | ".join(f"{rate:,.0f}" for rate in rates)
            assert f"| {batch} | {shown} | {seen['ratios'][peer]:.1f} |" in readme
    for section, key in (("homedepot", "twin_homedepot_vs_hf"), ("cross", "cross_vs_hf")):
        rates = (record["sections"][section]["rows_per_second"][side] for side in ("ours", "hf"))
        assert f"| 1,024 | {' | '.join(f'{rate:,.0f}' for rate in rates)} | {keys[key]:.1f} |" in readme
    assert f"validation AUC: {keys['twin_time_to_auc_vs_hf']:.1f} times less" in readme
    assert f"costs {keys['double_rows_cost'] - 1:.0%} a step" in readme
    top2, top1, frozen = (keys[f"boundary_{name}_speedup"] for name in ("top2", "top1", "frozen"))
    assert f"is {top2:.1f} (top 2 layers), {top1:.1f} (top layer) and {frozen:.0f} times (frozen) as fast" in readme
    assert f"in {keys['rss_20m_vs_1m']:.2f} times the memory" in readme
    assert f"1,000 candidates in {keys['rerank_1000_ms']:.1f} ms" in readme
    assert round(keys["adalora_memory_vs_full"], 1) == 0.5  # "half the memory"
