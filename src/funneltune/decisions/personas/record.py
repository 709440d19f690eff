"""What personas came to, as numbers, tables, notes, a picture and a list of who is in which."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from funneltune.decisions.personas.describe import FEWEST, Persona
from funneltune.decisions.personas.drawing import picture
from funneltune.decisions.personas.grouping import LEVEL, STEADY, Grouping
from funneltune.decisions.personas.study import Found
from funneltune.files import whole_file
from funneltune.metrics import Interval
from funneltune.records import DecisionRecord
from funneltune.runs.identity import git_commit, versions

PICTURE, ASSIGNED = "personas.png", "shoppers.csv"
RATES = ("ctr", "cvr", "spend")


def record_of(found: Found, run: str) -> DecisionRecord:
    """Everything but the picture and the list."""
    return DecisionRecord(
        verb="personas",
        run=run,
        settings=asdict(found.settings),
        numbers=_numbers(found),
        tables={
            "personas": _personas(found),
            "likes": _likes(found),
            "numbers_tried": _tried(found),
            "blocks": _blocks(found),
        },
        figures=[PICTURE],
        notes=notes(found),
        git_commit=git_commit(),
        versions=versions(),
    )


def assigned(found: Found) -> pd.DataFrame:
    """A row per grouped shopper: persona (empty: none), strength of the membership, place on the map."""
    labels = found.grouping.labels
    return pd.DataFrame(
        {
            "shopper": found.known.shoppers,
            "persona": np.where(labels < 0, "", (labels + 1).astype(str)),
            "strength": found.grouping.strength.round(4),
            "map_x": found.place[:, 0].round(4),
            "map_y": found.place[:, 1].round(4),
        }
    )


def write(record: DecisionRecord, found: Found, folder: Path) -> None:
    """The record, the picture and the list, into a new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    picture(found).savefig(folder / PICTURE, dpi=150)
    with whole_file(folder / ASSIGNED) as part:
        assigned(found).to_csv(part, index=False)
    record.write(folder)


def _numbers(found: Found) -> dict[str, dict[str, Any]]:
    held = f"{found.settings.nulls} sets of shoppers without groups: components' scores dealt out anew"
    numbers: dict[str, dict[str, Any]] = {
        "personas": _plain(found.grouping.k, "K-means" if found.settings.method == "kmeans" else "HDBSCAN"),
        "silhouette/p": _plain(found.grouping.p_silhouette, f"best number of groups, against {held}"),
        "gap/p": _plain(found.grouping.p_gap, f"best number of groups, against {held}"),
    }
    told = "test split" if found.on_test else "the past that made the personas"
    for persona in found.personas:
        for name in RATES:
            interval: Interval = getattr(persona, name)
            if np.isfinite(interval.estimate):
                protocol = f"{told}, {persona.seen} shoppers, clustered by shopper"
                numbers[f"persona {persona.name}/{name}"] = {
                    "value": interval.estimate,
                    "low": interval.low,
                    "high": interval.high,
                    "protocol": protocol,
                }
    if (truth := found.truth) is not None:
        chance = f"adjusted Rand index; shuffled segments stay below {truth.by_chance:.3f} in 95 of 100 cases"
        if found.grouping.k:
            numbers["truth/personas and segments"] = {
                "value": truth.found,
                "low": truth.low,
                "high": truth.high,
                "protocol": f"{chance}; bootstrap over shoppers",
            }
        numbers[f"truth/{truth.segments} groups and segments"] = _plain(
            truth.as_many, "adjusted Rand index of as many K-means groups as there are segments"
        )
        numbers["truth/ceiling"] = _plain(
            truth.ceiling, "the same of the true tastes, price sensitivities and budgets: segments overlap"
        )
    return numbers


def _plain(value: float, protocol: str) -> dict[str, Any]:
    return {"value": value, "low": None, "high": None, "protocol": protocol}


def _personas(found: Found) -> dict[str, Any]:
    columns = ["persona", "shoppers", "share", "seen", *RATES, "price"]
    rows = [
        [one.name, one.size, one.share, one.seen, *(_told(getattr(one, name)) for name in RATES), one.price]
        for one in found.personas
    ]
    return {"columns": columns, "rows": rows}


def _told(interval: Interval) -> str:
    """An estimate with its interval."""
    if not np.isfinite(interval.estimate):
        return ""
    one, low, high = (_short(value) for value in (interval.estimate, interval.low, interval.high))
    return f"{one} ({low} to {high})" if np.isfinite(interval.low) else one


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _likes(found: Found) -> dict[str, Any]:
    def told(persona: Persona) -> list[str]:
        return [", ".join(words) for words in (persona.categories, persona.clicked, persona.searched)]

    rows = [[persona.name, *told(persona)] for persona in found.personas]
    return {"columns": ["persona", "categories", "words_of_what_it_clicked", "words_of_its_searches"], "rows": rows}


def _tried(found: Found) -> dict[str, Any]:
    columns = ["size", "groups", "silhouette", "without_groups", "gap", "stability", "without_groups_at_most", "chosen"]
    rows = [
        [
            one.size,
            one.groups,
            one.silhouette,
            one.silhouette_null,
            one.gap,
            one.stability,
            one.stability_null,
            "yes" if one is found.grouping.chosen else "",
        ]
        for one in found.grouping.tried
    ]
    return {"columns": columns, "rows": rows}


def _blocks(found: Found) -> dict[str, Any]:
    rows = [
        [block.name, block.values.shape[1], block.correlation, block.by_chance, block.reliability, block.weight]
        for block in found.blocks
    ]
    return {"columns": ["block", "numbers", "agreement_of_halves", "by_chance", "reliability", "weight"], "rows": rows}


# --- what to do with it --------------------------------------------------------------------------------------------


def notes(found: Found) -> list[str]:
    """The verdict, what to do, what was left out, the limits."""
    told = [_verdict(found), *_advice(found)]
    rules, known, grouping = found.settings, found.known, found.grouping
    if dropped := [block.name for block in found.blocks if not block.weight]:
        told.append(
            f"Not used: {', '.join(dropped)}. Half of a shopper's requests says no more of the other half there than "
            "chance does."
        )
    if grouping.merged:
        told.append(
            f"{grouping.merged} groups of fewer than min_size={rules.min_size} shoppers joined the nearest one."
        )
    if grouping.k and (grouping.labels < 0).any():
        told.append(f"{int((grouping.labels < 0).sum()):,} shoppers lie between the personas and are in none.")
    told.append(
        f"{len(known.shoppers):,} shoppers with {rules.past} or more of {known.events[0]!r} before the test split were "
        f"looked at; {known.unknown:,} have fewer"
        + (f", and {known.left_out:,} are beyond most={rules.most}." if known.left_out else ".")
    )
    if found.personas:
        told.append(
            f"Rates and spending are of the {'test split, after' if found.on_test else 'very'} the past that made the "
            f"personas; none is told of fewer than {rules.min_size} shoppers, and no word of fewer than {FEWEST}. "
            f"{ASSIGNED} names shoppers: keep it as you keep their data."
        )
    if (truth := found.truth) is not None:
        told.append(_against_truth(found, truth.found))
    return told


def _verdict(found: Found) -> str:
    grouping, used = found.grouping, [block.name for block in found.blocks if block.weight]
    if not used:
        return (
            "No groups: nothing that was looked at ("
            + (", ".join(block.name for block in found.blocks) or "nothing")
            + ") tells shoppers apart from one half of their requests to the other. Treat them alike."
        )
    held = f"silhouette p = {grouping.p_silhouette:.3f}, gap p = {grouping.p_gap:.3f}"
    if not grouping.k:
        return (
            f"No groups: shoppers differ in {', '.join(used)}, but along a slope and not in groups that come again. "
            f"{held_against(grouping, found.settings.min_size)} Rank for each shopper; do not cut them into segments."
        )
    chosen = grouping.chosen
    assert chosen is not None
    if found.settings.k is not None and not (grouping.beyond_chance and chosen.stable):
        return (
            f"{grouping.k} personas because k={found.settings.k} was asked for: they are no clearer or no more stable "
            f"than groups cut from shoppers without any ({held}; stability {chosen.stability:.2f}, without groups "
            f"up to {chosen.stability_null:.2f}). Take them as a way to cut a slope."
        )
    return (
        f"{grouping.k} personas, told apart by {', '.join(used)} ({held}); in bootstrap samples they come again with "
        f"an adjusted Rand index of {chosen.stability:.2f} (without groups up to {chosen.stability_null:.2f})."
    )


def held_against(grouping: Grouping, least: int) -> str:
    """Each test that groups must pass, its number beside its threshold, those that failed first."""
    if not grouping.tried:
        return f"Failed: size (too few shoppers, or too alike, for two groups of min_size={least}; nothing was tried)."
    passed: list[str] = []
    failed: list[str] = []
    for name, p in (("silhouette", grouping.p_silhouette), ("gap", grouping.p_gap)):
        told = f"{name} against shuffled shoppers (p = {p:.3f}, {LEVEL:g} at most)"
        (passed if p <= LEVEL else failed).append(told)
    nearest = max(grouping.tried, key=lambda one: (one.stable, one.stability - one.stability_null))
    told = (
        f"stability (of {nearest.groups} groups {nearest.stability:.2f}, more than {nearest.stability_null:.2f} of "
        f"shuffled shoppers or {STEADY:g} at least)"
    )
    (passed if nearest.stable else failed).append(told)
    stable = [one for one in grouping.tried if one.stable]
    if stable and not any(one.groups > 1 and one.silhouette > one.silhouette_null for one in stable):
        clearest = max(stable, key=lambda one: one.silhouette - one.silhouette_null)
        failed.append(
            f"clearness of what is stable (silhouette of {clearest.groups} groups {clearest.silhouette:.3f}, more than "
            f"{clearest.silhouette_null:.3f} of shuffled shoppers)"
        )
    if grouping.merged:
        failed.append(f"size (all but one group have fewer than min_size={least} shoppers)")
    return f"Failed: {'; '.join(failed) or 'none'}." + (f" Passed: {'; '.join(passed)}." if passed else "")


def _advice(found: Found) -> list[str]:
    """Which persona buys more or spends more than another, where the intervals leave no doubt."""
    told = []
    for name, words in (("cvr", "buys more often after a click"), ("spend", "spends more"), ("ctr", "clicks more")):
        known = [persona for persona in found.personas if np.isfinite(getattr(persona, name).low)]
        if len(known) < 2:
            continue
        best = max(known, key=lambda persona: getattr(persona, name).estimate)
        worst = min(known, key=lambda persona: getattr(persona, name).estimate)
        if getattr(best, name).low > getattr(worst, name).high:
            one, other = (_short(getattr(of, name).estimate) for of in (best, worst))
            told.append(f"Persona {best.name} {words} than persona {worst.name}: {one} against {other}.")
    if found.personas and not told:
        told.append(
            "Their rates do not differ beyond their intervals: use them for what they like, not for what they buy."
        )
    return told


def _against_truth(found: Found, index: float) -> str:
    truth = found.truth
    assert truth is not None
    ceiling = f"as many groups of the true tastes, sensitivities and budgets reach {truth.ceiling:.2f}"
    if not found.grouping.k:
        return (
            f"The marketplace has {truth.segments} segments of shoppers; {truth.segments} groups of these vectors "
            f"would agree with them at an adjusted Rand index of {truth.as_many:.2f} ({ceiling})."
        )
    return (
        f"Against the marketplace's {truth.segments} segments: adjusted Rand index {index:.2f} ({truth.low:.2f} to "
        f"{truth.high:.2f}; by chance up to {truth.by_chance:.2f}; {ceiling})."
    )
