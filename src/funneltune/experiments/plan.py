"""A study's grid: axes of overrides x seeds -> cells."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from funneltune.errors import ConfigError
from funneltune.experiments.budgets import Match, Tune
from funneltune.records import TRIALS_NAME

DESIGNS = ("grid", "leave_one_out")
WITHOUT, NOTHING = "without", "nothing"
"""The axis of a leave-one-out study, and its value that leaves out no part."""
PLAIN = re.compile(r"[A-Za-z_./][\w./@-]*")
LISTED = 8
IN_A_FOLDER_NAME = re.compile(r"[^\w.=,+@-]+")


@dataclass(frozen=True)
class Cell:
    """One combination of the axes at one seed, and in one fold where there are folds: a run of the study."""

    name: str
    """The overrides, as a folder is called: `tuning=adalora`, `tuning=adalora,head=esmm`."""
    seed: int
    overrides: tuple[str, ...]
    """As on the command line, the seed's included."""
    fold: int | None = None
    trial: str | None = None
    """The setting that is tried, where this is no run of the study but one that helps to set it up."""

    @property
    def folder(self) -> str:
        """The run folder below the study's."""
        if self.trial is not None:
            return f"{TRIALS_NAME}/{self.name}/{self.trial}/seed={self.seed}"
        return f"cells/{self.name}/seed={self.seed}" + ("" if self.fold is None else f",fold={self.fold}")

    def also(self, overrides: Mapping[str, Any]) -> Cell:
        """The cell with further values set."""
        told = tuple(f"{key}={override_text(value)}" for key, value in overrides.items())
        return replace(self, overrides=(*self.overrides, *told))

    def trials(self, key: str, values: Iterable[float], overrides: Sequence[str]) -> list[Cell]:
        """This cell at other values of a key, the test split left alone; nothing is scored beside it."""
        alone = (*overrides, "test=false", "baselines=[]")
        tried = [f"{key}={override_text(value)}" for value in values]
        return [replace(self, trial=one, overrides=(*self.overrides, *alone, one)) for one in tried]


@dataclass(frozen=True)
class Study:
    """What is varied and what is compared. `axes` maps an override key to its values, as override texts.

    An axis may also be a name of its own whose values are labels, each for several overrides (`bundles`). The design
    `leave_one_out` has such an axis from its `parts`: `without`, first of all without nothing.
    """

    name: str
    axes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)
    baseline: str | None = None
    metric: str = "ctcvr/auc"
    metrics: tuple[str, ...] = ()
    bundles: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    """Axis -> label -> overrides: `input: {text: [features=none], ids: [backbone=none, tuning=frozen]}`."""
    design: str = "grid"
    folds: int | None = None
    """Parts of a cross-validation: every cell is run once for each, at every seed."""
    pairs: str | tuple[tuple[str, str], ...] = "baseline"
    """Who is held against whom: `baseline`, `all`, the name of an axis, or pairs of cells."""
    match: Match | None = None
    tune: Tune | None = None
    retries: int = 1
    """How often a run that failed by no fault of its config is begun again in the same call."""

    def __post_init__(self) -> None:
        """Refuse a grid that cannot be run or compared. All faults together.

        Raises:
            ConfigError: for an empty or repeating axis, repeated or missing seeds, an unknown design.
        """
        faults = [*self._axis_faults(), *self._replicate_faults()]
        if self.design not in DESIGNS:
            faults.append(f"study.design={self.design} must be {' or '.join(DESIGNS)}")
        if not faults:
            names = self.cell_names
            if len(names) * len(self.seeds) * (self.folds or 1) != len(self.cells()):
                faults.append("study.axes: two cells would share one folder name; give values that differ in letters")
            faults += self._pair_faults(names)
        if faults:
            raise ConfigError("; ".join(faults) + ".")

    def _axis_faults(self) -> Iterator[str]:
        for key, values in self.axes.items():
            if key in {"seed", "run_dir"}:
                yield f"study.axes.{key} is no axis; " + ("use study.seeds" if key == "seed" else "remove it")
            if not values:
                yield f"study.axes.{key} has no values; list at least one, or remove the axis"
            yield from (f"study.axes.{key} names {v} twice; name it once" for v in _repeated(values))

    def _replicate_faults(self) -> Iterator[str]:
        if not self.seeds:
            yield "study.seeds is empty; list at least one, e.g. [0]"
        yield from (f"study.seeds names {seed} twice; name it once" for seed in _repeated(self.seeds))
        if self.folds is not None and self.folds < 2:
            yield f"study.folds={self.folds} must be >= 2, or null for the split as it is"
        if self.tune is not None and self.tune.seeds > len(self.seeds):
            yield f"study.tune.seeds={self.tune.seeds} must be <= {len(self.seeds)}, the study's seeds"
        if self.retries < 0:
            yield f"study.retries={self.retries} must be >= 0"

    def _pair_faults(self, names: Sequence[str]) -> Iterator[str]:
        if isinstance(self.pairs, str):
            known = ("baseline", "all", *self.axes)
            if self.pairs not in known:
                yield f"study.pairs={self.pairs} must be one of {', '.join(known)}, or a list of [cell, other]"
            return
        for name in dict.fromkeys(name for two in self.pairs for name in two):
            if name not in names:
                near = [f", nearest: {n}" for n in difflib.get_close_matches(name, names, n=1)]
                yield f"study.pairs names {name}, which is no cell of this study{''.join(near)}"

    def check_baseline(self, scorers: Sequence[str] = ()) -> None:
        """Refuse a baseline that is no cell, nor one of the `scorers` that every run is scored beside.

        Raises:
            ConfigError: naming the nearest cell.
        """
        names = self.cell_names
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
        design, baseline = str(node.get("design") or "grid"), node.get("baseline")
        pairs: Any = node.get("pairs") or ("baseline" if design == "grid" else WITHOUT)
        for key, values in {**_parts(design, node.get("parts")), **(node.get("axes") or {})}.items():
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
        study = cls(
            name=name,
            axes=axes,
            seeds=seeds,
            baseline=baseline,
            metric=str(node.get("metric")),
            metrics=tuple(node.get("metrics") or ()),
            bundles=bundles,
            design=design,
            folds=node.get("folds"),
            pairs=pairs if isinstance(pairs, str) else _pairs(pairs),
            match=Match.from_config(node.get("match"), node.get("budget")),
            tune=Tune.from_config(node.get("tune")),
            retries=int(node.get("retries", 1)),
        )
        whole = design == "leave_one_out" and baseline is None
        return replace(study, baseline=study.cell_names[0]) if whole else study

    @property
    def cell_names(self) -> list[str]:
        """The cells, whatever their seeds and folds."""
        return list(dict.fromkeys(cell.name for cell in self.cells()))

    def cells(self) -> list[Cell]:
        """Every combination, seeds innermost: the first seed of all ways is there only after all of the first way."""
        found = []
        for values in itertools.product(*self.axes.values()):
            chosen = tuple(f"{key}={value}" for key, value in zip(self.axes, values, strict=True))
            name = IN_A_FOLDER_NAME.sub("_", ",".join(chosen)) or "all"
            pairs = zip(self.axes, values, strict=True)
            overrides = tuple(itertools.chain.from_iterable(self.overrides(key, value) for key, value in pairs))
            for seed in self.seeds:
                found += [
                    Cell(name, seed, (*overrides, *self._fold(fold), f"seed={seed}"), fold)
                    for fold in (range(self.folds) if self.folds else (None,))
                ]
        return found

    def _fold(self, fold: int | None) -> tuple[str, ...]:
        return () if fold is None else (f"++data.split.folds={self.folds}", f"++data.split.fold={fold}")

    def overrides(self, axis: str, value: str) -> tuple[str, ...]:
        """What an axis's value stands for."""
        return self.bundles[axis][value] if axis in self.bundles else (f"{axis}={value}",)

    def to_json(self) -> dict[str, Any]:
        """For study.json, and for `from_config`: `parts` have become the axis that they are."""
        return {
            "name": self.name,
            "design": self.design,
            "axes": {
                key: {label: list(several) for label, several in self.bundles[key].items()}
                if key in self.bundles
                else list(values)
                for key, values in self.axes.items()
            },
            "seeds": list(self.seeds),
            "folds": self.folds,
            "baseline": self.baseline,
            "pairs": self.pairs if isinstance(self.pairs, str) else [list(two) for two in self.pairs],
            "metric": self.metric,
            "metrics": list(self.metrics),
            "match": self.match.on if self.match else None,
            "budget": self.match.budget if self.match else None,
            "tune": self.tune.to_json() if self.tune else None,
            "retries": self.retries,
        }


def _parts(design: str, parts: Any) -> dict[str, Any]:
    """The axis that a leave-one-out study's parts make."""
    if design != "leave_one_out":
        if parts:
            raise ConfigError("study.parts belongs to study.design=leave_one_out; set that, or use study.axes.")
        return {}
    if not parts:
        return {}  # as study.json holds it: the axis stands among the others
    if not isinstance(parts, Mapping):
        raise ConfigError(f"study.parts={parts!r} must map the name of a part to what leaves it out, a list.")
    return {WITHOUT: {NOTHING: [], **parts}}


def _pairs(pairs: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(pairs, (list, tuple)) or not all(isinstance(p, (list, tuple)) and len(p) == 2 for p in pairs):
        raise ConfigError(f"study.pairs={pairs!r} must be baseline, all, an axis, or a list of [cell, other].")
    return tuple((str(one), str(other)) for one, other in pairs)


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
