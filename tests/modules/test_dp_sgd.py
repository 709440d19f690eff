"""What may be asked of differentially private training."""

import pytest

from funneltune.errors import ConfigError
from funneltune.modules import DPSGD


def test_one_of_epsilon_and_noise_decides_the_other():
    assert DPSGD().epsilon == 3.0
    assert DPSGD(epsilon=None, noise=1.1).noise == 1.1
    for epsilon, noise in ((None, None), (3.0, 1.1)):
        with pytest.raises(ConfigError, match=f"privacy.epsilon={epsilon} and privacy.noise={noise}: give one"):
            DPSGD(epsilon=epsilon, noise=noise)


@pytest.mark.tried("dp_sgd", "bad_input")
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"unit": "query"}, "privacy.unit='query' must be one of impression, shopper"),
        ({"accountant": "gdp"}, "privacy.accountant='gdp' must be one of prv, rdp"),
        ({"epsilon": 0.0}, "privacy.epsilon=0.0 must be above 0"),
        ({"epsilon": float("inf")}, "privacy.epsilon=inf must be above 0 and finite"),
        ({"delta": 1.0}, r"privacy.delta=1.0 must lie in \(0, 1\)"),
        ({"clip": 0.0}, "privacy.clip=0.0 must be above 0"),
        ({"clip": float("nan")}, "privacy.clip=nan must be above 0"),
        ({"epsilon": None, "noise": -1.0}, "privacy.noise=-1.0 must be >= 0"),
        ({"rows_per_shopper": 4}, "privacy.rows_per_shopper=4 must be >= 1 and goes with unit=shopper"),
        ({"unit": "shopper", "rows_per_shopper": 0}, "privacy.rows_per_shopper=0 must be >= 1"),
        ({"seed": -1}, "privacy.seed=-1 must be >= 0, or null"),
    ],
)
def test_what_is_out_of_range_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        DPSGD(**values)


@pytest.mark.tried("dp_sgd", "bad_input")
def test_every_fault_is_told_at_once():
    with pytest.raises(ConfigError, match=r"privacy.unit='x'.*; privacy.clip=-1.*; privacy.seed=-2"):
        DPSGD(unit="x", clip=-1, seed=-2)
