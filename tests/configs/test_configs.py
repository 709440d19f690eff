"""Every choice of every group composes to a config that can run; the table in configs/README.md is true."""

import re
from pathlib import Path

import pytest
import yaml

from funneltune.cli.compose import checked, compose_config
from funneltune.cli.faults import dotted_keys
from funneltune.cli.locate import config_root
from funneltune.cli.schema import TOP_LEVEL
from funneltune.experiments import Study
from matrices import sampled

ROOT = config_root()
READ_AS_DATA = ("paper", "ranking")
"""Folders that nothing composes."""
CHOICES = sorted(
    (path.parent.name, path.stem) for path in ROOT.glob("*/*.yaml") if path.parent.name not in READ_AS_DATA
)
GROUPS = sorted({group for group, _ in CHOICES})
PACKAGE = Path(__file__).parents[2] / "src" / "funneltune"
FOREIGN = {"lightning", "torch.optim"}
OVERRIDES_ONLY = ("experiment", "study", "hparams_search", "debug")


@pytest.mark.parametrize(("group", "choice"), CHOICES, ids=["=".join(choice) for choice in CHOICES])
def test_every_choice_composes_to_a_config_that_passes_every_check(group, choice):
    cfg = compose_config([f"{group}={choice}"])
    cfg.study = None
    checked(cfg)


STUDIES = [choice for group, choice in CHOICES if group == "study"]


def grid_of(study):
    cfg = compose_config([f"study={study}"])
    grid = Study.from_config(cfg.name, {str(key): cfg.study[key] for key in ("baseline", "metric")} | lists(cfg.study))
    grid.check_baseline(list(cfg.baselines))
    return grid


def check_cells(study, cells):
    for cell in cells:
        alone = compose_config([f"study={study}", *cell.overrides])
        alone.study = None
        checked(alone)


@pytest.mark.slow
@pytest.mark.parametrize("study", STUDIES)
def test_every_study_has_a_grid_with_its_baseline_in_it_and_each_value_of_an_axis_composes(study):
    cells, seen = [], set()
    for cell in grid_of(study).cells():
        if not set(cell.overrides) <= seen:
            cells.append(cell)
            seen |= set(cell.overrides)
    # at the papers' own scale tests/configs/test_full_studies.py builds every cell; of these, the first and the last
    check_cells(study, cells if not study.startswith("full_") else [cells[0], cells[-1]])


@pytest.mark.slow
@pytest.mark.parametrize("study", sampled(STUDIES))
def test_every_cell_of_every_study_composes(study):
    check_cells(study, grid_of(study).cells())


def lists(node):
    from omegaconf import OmegaConf

    return {key: OmegaConf.to_container(node[key]) for key in ("axes", "seeds", "metrics")}


@pytest.mark.slow
@pytest.mark.parametrize("search", [choice for group, choice in CHOICES if group == "hparams_search"])
def test_every_setting_of_every_search_composes(search, tmp_path):
    from omegaconf import OmegaConf

    from funneltune.experiments.search import Search
    from funneltune.experiments.search_plan import SearchPlan

    words = [f"hparams_search={search}"]
    cfg = compose_config(words)
    plan = SearchPlan.from_config(search, OmegaConf.to_container(cfg.search, resolve=True))
    cfg.search = None
    Search(plan, tmp_path, lambda overrides: checked(compose_config(overrides)), tuple(words)).check(cfg)


@pytest.mark.parametrize("debug", [choice for group, choice in CHOICES if group == "debug"])
@pytest.mark.parametrize("experiment", [choice for group, choice in CHOICES if group == "experiment"])
def test_every_experiment_can_be_debugged(experiment, debug):
    cfg = compose_config([f"experiment={experiment}", f"debug={debug}"])
    assert cfg.name == experiment
    checked(cfg)


def test_the_readme_maps_every_group_to_a_room_that_is_there():
    rows = re.findall(r"^\| (\w+) \| ([\w./]+) \|", (ROOT / "README.md").read_text(), flags=re.M)
    rows = [row for row in rows if row[0] != "group"]
    assert sorted(group for group, _ in rows) == GROUPS
    for _, room in rows:
        assert room in FOREIGN or (PACKAGE / room.removeprefix("funneltune/")).is_dir(), room


def test_targets_of_a_group_lie_in_the_room_that_the_readme_names():
    rooms = dict(re.findall(r"^\| (\w+) \| ([\w./]+) \|", (ROOT / "README.md").read_text(), flags=re.M))
    for group, choice in CHOICES:
        content = yaml.safe_load((ROOT / group / f"{choice}.yaml").read_text()) or {}
        target = content.get("_target_")
        if target is not None:
            assert target.startswith(rooms[group].replace("/", ".")), (group, choice, target)


def test_experiments_studies_and_debugs_are_overrides_only():
    for group in OVERRIDES_ONLY:
        for path in (ROOT / group).glob("*.yaml"):
            text = path.read_text()
            assert text.startswith("# @package _global_\n"), path
            assert "_target_" not in text, path


def test_every_key_that_a_user_sets_has_a_comment_and_every_file_says_what_it_is():
    for path in [ROOT / "train.yaml", *ROOT.glob("trainer/*.yaml"), *ROOT.glob("optimizer/*.yaml")]:
        assert path.read_text().startswith("# "), path
    keys = re.findall(r"^(\w+): .*$", (ROOT / "train.yaml").read_text(), flags=re.M)
    commented = re.findall(r"^(\w+): \S.* # \S", (ROOT / "train.yaml").read_text(), flags=re.M)
    assert keys == commented


def test_the_schema_and_the_composed_config_have_the_same_top_level():
    cfg = compose_config([])
    assert set(cfg.keys()) == set(TOP_LEVEL)
    assert {key.partition(".")[0] for key in dotted_keys(cfg)} == set(TOP_LEVEL)


@pytest.mark.parametrize("trainer", [choice for group, choice in CHOICES if group == "trainer"])
def test_every_trainer_offers_the_same_keys_and_repeats_no_row(trainer):
    cpu, chosen = (yaml.safe_load((ROOT / "trainer" / f"{choice}.yaml").read_text()) for choice in ("cpu", trainer))
    assert set(cpu) == set(chosen)
    assert chosen["use_distributed_sampler"] is False
    assert chosen["enable_model_summary"] is False
    assert chosen["num_sanity_val_steps"] == 0
