import pytest
from hydra.errors import InstantiationException

from funneltune.cli.compose import compose_config
from funneltune.errors import ConfigError, TuningError
from funneltune.experiments import check, user_fault


def test_the_default_config_has_no_fault():
    check(compose_config([]))


def test_every_argument_that_a_target_does_not_take_is_named_with_the_nearest():
    cfg = compose_config(["+tuning.target_rnk=1", "+head.hiden=[1]", "+optimizer.momentum=0.9"])
    with pytest.raises(ConfigError) as caught:
        check(cfg)
    told = str(caught.value)
    assert "tuning.target_rnk is no key (nearest: tuning.target_rank)" in told
    assert "head.hiden is no key (nearest: head.hidden)" in told
    assert "optimizer.momentum is no key" in told


def test_nothing_is_imported_before_the_allow_list_was_asked(monkeypatch):
    cfg = compose_config(["head._target_=antigravity.fly", "+head.x=1"])
    with pytest.raises(ConfigError, match=r"head._target_='antigravity.fly' is not allowed"):
        check(cfg)
    import sys

    assert "antigravity" not in sys.modules


def test_only_errors_of_ours_that_hydra_wrapped_are_a_users():
    ours = TuningError("tuning.x=1 is wrong.")
    wrapped = InstantiationException("outer")
    wrapped.__cause__ = InstantiationException("inner")
    wrapped.__cause__.__cause__ = ours
    assert user_fault(wrapped) is ours
    assert user_fault(ours) is ours
    assert user_fault(ValueError("not ours")) is None
    bare = InstantiationException("a TypeError of ours")
    bare.__cause__ = TypeError("x")
    assert user_fault(bare) is None
