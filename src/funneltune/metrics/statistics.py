"""The compact per-request statistics of a run: what a verdict needs of its predictions, small enough to commit.

For an AUC, per request: the weights of positives and negatives and the sums of their placement values. For a mean, per
request: a sum and a weight. For a function of sums (`formulas`): its parts. Keys are `{rate}/{metric}:{part}`, and
`{scorer}|{rate}/{metric}:{part}` for baselines.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from funneltune.errors import RunError
from funneltune.files import whole_file
from funneltune.funnel import Task, TaskFunnel
from funneltune.metrics import levels, lists
from funneltune.metrics.calibration import row_expected_log_losses, row_log_losses
from funneltune.metrics.discrimination import placements
from funneltune.metrics.formulas import FORMULAS, decisions, moments
from funneltune.metrics.spaces import (
    Columns,
    Scorer,
    Space,
    clusters_of,
    column,
    has_lists,
    has_oracle,
    joint,
    observed_rows,
    overall_score,
    probability,
    ranking_score,
    same_rows,
    score_of,
    spaces,
)
from funneltune.metrics.ties import Floats, Indices, checked_scores, dense_groups, sum_by

Arrays = dict[str, NDArray]

AUC_PARTS = ("positives", "negatives", "among_negatives", "among_positives")
MEAN_PARTS = ("sum", "weight")
UNITS = ("request", "user")
"""What clusters are numbers of; the statistics hold the numbers of one of them."""


def compact(
    columns: Columns,
    funnel: TaskFunnel,
    ks: Sequence[int] = (10,),
    scores: Mapping[str, Scorer] | None = None,
    clusters: str | None = None,
    threshold: float | Mapping[str, float] = 0.5,
) -> Arrays:
    """Per-cluster statistics of the predictions, and of any baselines' `scores` on the same rows.

    Args:
        columns: As for `evaluate`.
        funnel: The tasks.
        ks: Depths of the list metrics.
        scores: One array of scores per baseline name, one score per row.
        clusters: The column whose rows depend on one another: requests, or users where each request is a single row.
            List metrics are per request, so they are left out where clusters are something else.
        threshold: As for `evaluate`.

    Raises:
        DataError: As `evaluate`.
    """
    same_rows(columns, scores)
    clusters = clusters or clusters_of(columns)
    index, n_clusters = dense_groups(column(columns, clusters))
    found: Arrays = {clusters: np.unique(column(columns, clusters))}
    for space in spaces(columns, funnel):
        p = probability(columns, funnel, space)
        _areas(found, "", columns, funnel, space, p, index, n_clusters)
        _mean(
            found, f"{space.rate}/log_loss", row_log_losses(space.label, p[space.rows]), index[space.rows], n_clusters
        )
        _decided(found, space, p, threshold, index, n_clusters)
        if has_oracle(columns, funnel, space.task):
            p_true = probability(columns, funnel, space, "oracle_p_")
            losses = row_expected_log_losses(p_true, p)
            _mean(found, f"{space.entire}/expected_log_loss", losses, index, n_clusters)
            sums = {"predicted": p, "expected": p_true}
            _totals(found, f"{space.entire}/predicted_over_true", sums, index, n_clusters)
    for task in funnel.tasks:
        if not task.binary:
            _row_means(found, columns, funnel, task, index, n_clusters)
    if clusters == "request" and has_lists(columns):
        _tops(found, "", columns, funnel, None, ks)
    for name, score in (scores or {}).items():
        for space in spaces(columns, funnel):
            _areas(found, f"{name}|", columns, funnel, space, score_of(score, space, name), index, n_clusters)
        if clusters == "request" and has_lists(columns):
            _tops(found, f"{name}|", columns, funnel, score, ks)
    return {key: values.astype(np.float32) if values.dtype == np.float64 else values for key, values in found.items()}


def _areas(
    found: Arrays, who: str, columns: Columns, funnel: TaskFunnel, space: Space, score: Floats, index: Indices, n: int
) -> None:
    """Placement sums of a rate's AUC, and of its expected AUC where there is an oracle."""
    targets = {f"{space.rate}/auc": (space.label, space.rows)}
    if has_oracle(columns, funnel, space.task):
        p_true = probability(columns, funnel, space, "oracle_p_")
        targets[f"{space.entire}/expected_auc"] = (p_true, np.arange(len(score), dtype=np.int64))
    for key, (positive, rows) in targets.items():
        negative = 1.0 - positive
        placed = placements(score[rows], positive, negative)
        own = index[rows]
        parts = (positive, negative, positive * placed.among_negatives, negative * placed.among_positives)
        for part, values in zip(AUC_PARTS, parts, strict=True):
            found[f"{who}{key}:{part}"] = sum_by(own, values, n)


def _decided(
    found: Arrays, space: Space, p: Floats, threshold: float | Mapping[str, float], index: Indices, n: int
) -> None:
    """What is said at a threshold, and how much in sum, where a rate is observed."""
    cut = threshold.get(space.rate, 0.5) if isinstance(threshold, Mapping) else threshold
    label, said, own = space.label.astype(np.float64), p[space.rows], index[space.rows]
    rows = decisions(label, said, cut)
    for name in ("mcc", "f1"):
        _totals(found, f"{space.rate}/{name}", rows, own, n)
    _mean(found, f"{space.rate}/accuracy", rows["true_positive"] + rows["true_negative"], own, n)
    _totals(found, f"{space.rate}/predicted_over_observed", {"predicted": said, "expected": label}, own, n)


def _totals(found: Arrays, key: str, rows: Mapping[str, Floats], index: Indices, n: int) -> None:
    """The parts of a function of sums; `index` has the cluster of each row."""
    for part in FORMULAS[key.partition("/")[2]].parts:
        found[f"{key}:{part}"] = sum_by(index, rows[part], n)


def _row_means(found: Arrays, columns: Columns, funnel: TaskFunnel, task: Task, index: Indices, n: int) -> None:
    """What is a mean over rows, of a task that is not binary: losses and hits, where it is observed."""
    rows, _ = observed_rows(columns, funnel, task)
    if task.has_levels:
        label = levels.checked_levels(column(columns, task.name)[rows], task)
        p = levels.probabilities(columns, task, rows)
        means = {
            "accuracy": (levels.likeliest(p) == label).astype(np.float64),
            "log_loss": levels.row_level_losses(label, p),
        }
        if task.kind == "ordinal":
            means["mae"] = np.abs(label - levels.median_level(p)).astype(np.float64)
            means["rps"] = levels.ranked_probability_scores(label, p)
    else:
        value = checked_scores(column(columns, task.name)[rows], task.name)
        predicted = checked_scores(column(columns, task.predicted[0])[rows], task.predicted[0])
        means = {"mae": np.abs(value - predicted), "mse": (value - predicted) ** 2}
        for name in ("pearson", "spearman"):
            _totals(found, f"{task.rate}/{name}", moments(value, predicted, name == "spearman"), index[rows], n)
    for name, values in means.items():
        _mean(found, f"{task.rate}/{name}", values, index[rows], n)


def _mean(found: Arrays, key: str, values: Floats, index: Indices, n: int) -> None:
    """What a mean over rows is made of; `index` has the cluster of each value."""
    found[f"{key}:sum"] = sum_by(index, values, n)
    found[f"{key}:weight"] = np.bincount(index, minlength=n)


def _tops(
    found: Arrays, who: str, columns: Columns, funnel: TaskFunnel, score: Scorer | None, ks: Sequence[int]
) -> None:
    """Per-request list metrics; `score` ranks for every task, or each task's own joint probability where None."""
    request = column(columns, "request")

    def put(key: str, per_request: lists.RequestMean) -> None:
        found[f"{who}{key}:sum"] = np.nan_to_num(per_request.values)
        found[f"{who}{key}:weight"] = per_request.counted.astype(np.int8)

    for space in spaces(columns, funnel):
        if not space.joint:
            continue
        ranked = lists.RankedLists(
            request, probability(columns, funnel, space) if score is None else score_of(score, space)
        )
        put(f"{space.rate}/mrr", lists.reciprocal_rank(ranked, space.label))
        for k in ks:
            put(f"{space.rate}/ndcg@{k}", lists.ndcg(ranked, space.label, k))
            if space.task is funnel.binary[-1] and has_oracle(columns, funnel, space.task):
                p_true = joint(columns, funnel, space.task, "oracle_p_")
                put(f"{space.rate}/expected_{space.task.name}s@{k}", lists.expected_count(ranked, p_true, k))
    if "grade" in columns:
        ranked = lists.RankedLists(
            request, ranking_score(columns, funnel) if score is None else overall_score(score, funnel)
        )
        gain = lists.exponential_gain(column(columns, "grade"))
        flat = lists.indifferent(ranked, gain)
        for k in ks:
            every = lists.ndcg(ranked, gain, k)
            put(f"grade/ndcg@{k}", every)
            put(f"grade/ndcg_discriminating@{k}", lists.RequestMean(np.where(flat, np.nan, every.values)))


def write_statistics(path: Path, arrays: Mapping[str, NDArray]) -> Path:
    """Write `compact`'s arrays as one compressed file, whole or not at all, the same bytes for the same arrays."""
    with whole_file(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, values in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(values), allow_pickle=False)
            # A fixed date: committed evidence must not change where its numbers do not.
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, member.getvalue())
    return path


class StoredStatistics(Mapping[str, NDArray]):
    """What `write_statistics` wrote, read member by member as it is asked for.

    Raises:
        RunError: The file, or the member asked for, is missing or broken.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._open() as stored:
            self._names = tuple(stored.files)

    def __getitem__(self, name: str) -> NDArray:
        if name not in self._names:
            raise KeyError(name)
        with self._open() as stored:
            found: NDArray = stored[name]
            return found

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    @contextmanager
    def _open(self) -> Iterator[Any]:
        try:
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                yield stored
        except FileNotFoundError:
            raise RunError(f"{self.path} is missing; evaluate the run again to write its statistics.") from None
        except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            first_line = (str(error).splitlines() or [""])[0]
            raise RunError(
                f"{self.path} cannot be read as statistics ({first_line}); evaluate the run again."
            ) from None


def read_statistics(path: Path) -> Arrays:
    """Read all of what `write_statistics` wrote. Raises RunError where the file is missing or broken."""
    return dict(StoredStatistics(path))
