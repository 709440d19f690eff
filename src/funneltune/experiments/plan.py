"""A study's grid: axes of overrides x seeds -> cells."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from funneltune.errors import ConfigError

PLAIN = re.compile(r"[A-Za-z_./][\w./@-]*")
LISTED = 8
IN_A_FOLDER_NAME = re.compile(r"[^\w.=,+@-]+")


@dataclass(frozen=True)
class Cell:
    """One combination of the axes at one seed: a run of the study."""

    name: str
    """The overrides, as a folder is called: `tuning=adalora`, `tuning=adalora,head=esmm`."""
    seed: int
    overrides: tuple[str, ...]
    """As on the command line, the seed's included."""

    @property
    def folder(self) -> str:
        """The run folder below the study's."""
        return f"cells/{self.name}/seed={self.seed}"


@dataclass(frozen=True)
class Study:
    """What is varied and what is compared. `axes` maps an override key to its values, as override texts.

    An axis may also be a name of its own whose values are labels, each for several overrides (`bundles`).
    """

    name: str
    axes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)
    baseline: str | None = None
    metric: str = "ctcvr/auc"
    metrics: tuple[str, ...] = ()
    bundles: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    """Axis -> label -> overrides: `input: {text: [features=none], ids: [backbone=none, tuning=frozen]}`."""

    def __post_init__(self) -> None:
        """Refuse a grid that cannot be run or compared. All faults together.

        Raises:
            ConfigError: for an empty or repeating axis, repeated or missing seeds.
        """
        faults = []
        for key, values in self.axes.items():
            if key in {"seed", "run_dir"}:
                faults.append(f"study.axes.{key} is no axis; " + ("use study.seeds" if key == "seed" else "remove it"))
            if not values:
                faults.append(f"study.axes.{key} has no values; list at least one, or remove the axis")
            faults += [f"study.axes.{key} names {v} twice; name it once" for v in _repeated(values)]
        if not self.seeds:
            faults.append("study.seeds is empty; list at least one, e.g. [0]")
        faults += [f"study.seeds names {seed} twice; name it once" for seed in _repeated(self.seeds)]
        if not faults:
            names = list(dict.fromkeys(cell.name for cell in self.cells()))
            if len(names) * len(self.seeds) != len(self.cells()):
                faults.append("study.axes: two cells would share one folder name; give values that differ in letters")
        if faults:
            raise ConfigError("; ".join(faults) + ".")

    def check_baseline(self, scorers: Sequence[str] = ()) -> None:
        """Refuse a baseline that is no cell, nor one of the `scorers` that every run is scored beside.

        Raises:
            ConfigError: naming the nearest cell.
        """
        names = list(dict.fromkeys(cell.name for cell in self.cells()))
        if self.baseline is None or self.baseline in (*names, *scorers):
            return
        near = [f", nearest: {name}" for name in difflib.get_close_matches(self.baseline, names, n=1)]
        listed = ", ".join(names[:LISTED]) + (", ..." if len(names) > LISTED else "")
        raise ConfigError(
            f"study.baseline={self.baseline} is no cell of this study{''.join(near)}; cells: {listed}; "
            "set study.baseline='CELL', or study.baseline=null for no comparison."
        )

    @classmethod
    def from_config(cls, name: str, node: Mapping[str, Any], swept: Mapping[str, Iterable[str]] | None = None) -> Study:
        """From the config's `study` node, and the command line's comma lists (`tuning=frozen,full`, `seed=0,1`)."""
        axes: dict[str, tuple[str, ...]] = {}
        bundles: dict[str, dict[str, tuple[str, ...]]] = {}
        for key, values in (node.get("axes") or {}).items():
            if isinstance(values, Mapping):
                bundles[str(key)] = {str(label): _bundle(key, label, several) for label, several in values.items()}
                axes[str(key)] = tuple(bundles[str(key)])
                continue
            if not isinstance(values, (list, tuple)):
                raise ConfigError(f"study.axes.{key}={values!r} is no list; write [{values}].")
            axes[str(key)] = tuple(override_text(value) for value in values)
        seeds = tuple(int(seed) for seed in node.get("seeds") or ())
        for key, texts in (swept or {}).items():
            if key != "seed":
                axes[key] = tuple(texts)
                continue
            try:
                seeds = tuple(int(text) for text in texts)
            except ValueError:
                raise ConfigError(f"seed={','.join(texts)} must be whole numbers.") from None
        return cls(
            name=name,
            axes=axes,
            seeds=seeds,
            baseline=node.get("baseline"),
            metric=str(node.get("metric")),
            metrics=tuple(node.get("metrics") or ()),
            bundles=bundles,
        )

    def cells(self) -> list[Cell]:
        """Every combination, seeds innermost: the first seed of all ways is there only after all of the first way."""
        found = []
        for values in itertools.product(*self.axes.values()):
            chosen = tuple(f"{key}={value}" for key, value in zip(self.axes, values, strict=True))
            name = IN_A_FOLDER_NAME.sub("_", ",".join(chosen)) or "all"
            pairs = zip(self.axes, values, strict=True)
            overrides = tuple(itertools.chain.from_iterable(self.overrides(key, value) for key, value in pairs))
            found += [Cell(name, seed, (*overrides, f"seed={seed}")) for seed in self.seeds]
        return found

    def overrides(self, axis: str, value: str) -> tuple[str, ...]:
        """What an axis's value stands for."""
        return self.bundles[axis][value] if axis in self.bundles else (f"{axis}={value}",)

    def to_json(self) -> dict[str, Any]:
        """For study.json."""
        return {
            "name": self.name,
            "axes": {
                key: {label: list(several) for label, several in self.bundles[key].items()}
                if key in self.bundles
                else list(values)
                for key, values in self.axes.items()
            },
            "seeds": list(self.seeds),
            "baseline": self.baseline,
            "metric": self.metric,
            "metrics": list(self.metrics),
        }


def _bundle(axis: str, label: str, overrides: Any) -> tuple[str, ...]:
    if not isinstance(overrides, (list, tuple)) or not all("=" in str(one) for one in overrides):
        raise ConfigError(
            f"study.axes.{axis}.{label}={overrides!r} must be a list of overrides, [key=value, ...], or []."
        )
    return tuple(str(one) for one in overrides)


def override_text(value: Any) -> str:
    """A value as Hydra's override grammar reads it back: `null`, `true`, `0.1`, `esmm`, `'two words'`, `[64,32]`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{override_text(k)}:{override_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(override_text(item) for item in value) + "]"
    text = str(value)
    if PLAIN.fullmatch(text) and text.lower() not in {"null", "true", "false", "nan", "inf"}:
        return text
    # Hydra: inside single quotes, a backslash before a quote escapes it, the closing quote included
    inner = re.sub(r"(\\*)'", r"\1\1\\'", text)
    return "'" + re.sub(r"(\\+)\Z", r"\1\1", inner) + "'"


def _repeated(values: Iterable[Any]) -> list[Any]:
    seen: set[Any] = set()
    return [value for value in values if value in seen or seen.add(value)]  # type: ignore[func-returns-value]
