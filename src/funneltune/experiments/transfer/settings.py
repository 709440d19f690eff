"""What a transfer is asked for: the weights that the target is trained from, how many of its requests, how often."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from funneltune.errors import ConfigError

Kind = Literal["pretrained", "run", "average", "fusion"]
ALL = "all"
"""As many requests as the target's log has for training."""


@dataclass(frozen=True)
class Start:
    """What training on the target begins with."""

    kind: Kind
    others: tuple[str, ...] = ()
    """Folders of runs beside the run itself, of an average or a fusion."""

    @classmethod
    def parse(cls, text: str) -> Start:
        """`run`, `pretrained`, `average:RUN2,RUN3`, `fusion:RUN2,RUN3`.

        Raises:
            ConfigError: for another word, or runs that are missing or not asked for.
        """
        kind, _, named = text.strip().partition(":")
        others = tuple(one.strip() for one in named.split(",") if one.strip())
        if kind not in get_args(Kind):
            raise ConfigError(
                f"start={text} must be run, pretrained, average:RUN2,... or fusion:RUN2,..., joined by +."
            )
        if bool(others) != (kind in ("average", "fusion")):
            told = f"names no run to {kind} with" if not others else "takes no further runs"
            raise ConfigError(f"start={text} {told}; write run, pretrained, average:RUN2,RUN3 or fusion:RUN2,RUN3.")
        if odd := next((one for one in others if "${" in one), None):
            raise ConfigError(f"start={text}: {odd} must be the folder of a finished run; a config's ${{...}} is none.")
        return cls(kind, others)  # type: ignore[arg-type]

    @property
    def name(self) -> str:
        """As tables have it: the kind, and of how many runs."""
        return self.kind if not self.others else f"{self.kind} of {len(self.others) + 1}"


PRETRAINED = Start("pretrained")


@dataclass(frozen=True)
class Settings:
    """The settings of a transfer.

    Raises:
        ConfigError: naming the first that is out of range.
    """

    starts: tuple[Start, ...] = (Start("run"),)
    shots: tuple[int | str, ...] = (0, 100, 300, 1000, 3000)
    """Training requests of the target; 0: none, measured as it is; `all`."""
    seeds: tuple[int, ...] = (0, 1, 2)
    metric: str = ""
    """What is compared; empty: the AUC of the funnel's last rate, by true probabilities where the log has them."""

    def __post_init__(self) -> None:
        """Refuse what cannot be carried out."""
        for name, values in (("start", self.starts), ("shots", self.shots), ("seeds", self.seeds)):
            if not values:
                raise ConfigError(f"{name} is empty; name at least one.")
            if repeated := next((one for one in values if list(values).count(one) > 1), None):
                told = repeated.name if isinstance(repeated, Start) else repeated
                raise ConfigError(f"{name} names {told} twice; name it once.")
        for shots in self.shots:
            if shots != ALL and (not isinstance(shots, int) or shots < 0):
                raise ConfigError(f"shots={shots} must be whole numbers >= 0 of training requests, or {ALL}.")
        names = [start.name for start in self.starts]
        if twins := next((name for name in names if names.count(name) > 1), None):
            raise ConfigError(f"start names two that tables would call {twins!r}; give them one at a time.")

    @property
    def compared(self) -> tuple[Start, ...]:
        """The starts that are held against the pretrained backbone."""
        return tuple(start for start in self.starts if start != PRETRAINED)

    def counts(self, requests: int) -> list[int]:
        """The shot counts in order, of a log with so many training requests.

        Raises:
            ConfigError: if one is beyond the log.
        """
        found = sorted({requests if one == ALL else int(one) for one in self.shots})
        if found[-1] > requests:
            raise ConfigError(
                f"shots={found[-1]} is more than the target's {requests:,} training requests; ask for at most "
                f"{requests}, or {ALL}."
            )
        return found


def starts_in(texts: Sequence[str]) -> tuple[Start, ...]:
    """Several starts, each as `Start.parse` reads it."""
    return tuple(Start.parse(text) for text in texts)
