"""Merge sets of two halves of the emoji data, and compare with distilling everything again; forgetting; membership.

    python benchmarks/growing.py [--seeds 0,1,2] [--coded-seeds 0] [--quick] [-o OUTPUT]

Two halves of the training groups, each packed on its own (own means): at random, or by category (old: animals, food,
travel and objects; new: the other categories). The old half is distilled first. The new half is centred by the means of
the old set, distilled, and merged with the old set (`od.distill(NEW, add_to=OLD)` does all of this), without the old
data. Settings were chosen on validation (LOG.md, 28); the test split is scored once, at the end. Results are written to
benchmarks/results/growing.md and growing.json.

A score is the mean of R@1, R@5 and R@10 over all directions. Forgetting is the score of the old set minus that of the
merged set on test items of the old categories, and needs halves by category. An interval (95 %) covers queries and, if
there are several seeds, sets.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

import omnidistill as od
from measuring import RESULTS, machine
from omnidistill.data.recentre import recentred
from omnidistill.evaluation.directions import RECALL_AT, rank_heads, recalls
from omnidistill.evaluation.hits import Hits, mean_unit
from omnidistill.evaluation.intervals import paired_difference
from omnidistill.evaluation.membership import Membership, measure_membership
from omnidistill.evaluation.ranking import Ranking
from omnidistill.models.heads import Heads
from omnidistill.training.closed_form import accumulate_moments, ridge_cca_heads

OLD = {"Animals & Nature", "Food & Drink", "Travel & Places", "Objects"}
ITEMS = Path(od.__file__).parent / "data" / "bundled" / "items.jsonl"
INTRO = """
Two halves of the emoji training groups, at random or by category (old: animals, food, travel and objects), packed
separately. The new half is centred by the means of the old set, distilled, and merged without the old data
([guide](guides/merge.md); LOG.md, 28). Scores are the mean of R@1, R@5 and R@10 over all directions in percent, for
heads without initial heads. Forgetting is the test score of the old set on old categories minus that of the merged set.
Intervals (95 %) cover queries and, with several seeds, sets.
"""
SPLITS = ("validation", "test")
COLUMNS = {
    "validation": "validation",
    "test": "test",
    "to_again": "test, difference to everything again",
    "old": "test, old categories",
    "new": "test, new categories",
    "forgetting": "forgetting",
}
ATTACKS = {
    "loss": "loss",
    "nearest_row": "nearest row",
    "loss_full": "loss, CCA heads of all rows",
    "loss_initial": "loss, initial heads (control)",
}


def categories() -> dict[str, str]:
    """Return the category of each emoji, by group."""
    items = map(json.loads, ITEMS.read_text("utf-8").splitlines())
    return {item["id"]: item["category"] for item in items}


@dataclass(frozen=True)
class Halves:
    """The emoji data with all training groups, and with one half of them each."""

    whole: od.FeatureSet
    old: od.FeatureSet
    new: od.FeatureSet

    @staticmethod
    def of(kind: str, seed: int) -> Halves:
        """Return halves at random (`random`) or by category (`category`)."""
        raw, category = od.load_emoji(), categories()
        groups = sorted({group for group, split in zip(raw.groups, raw.splits, strict=True) if split == "train"})
        if kind == "random":
            order = torch.randperm(len(groups), generator=torch.Generator().manual_seed(seed)).tolist()
            old = {groups[place] for place in order[: len(groups) // 2]}
        else:
            old = {group for group in groups if category[group] in OLD}
        return Halves(od.prepare(raw), *(od.prepare(_with(raw, part)) for part in (old, {*groups} - old)))


def _with(raw: od.RawFeatures, train: set[str]) -> od.RawFeatures:
    """Return the rows of all other splits, and the training rows of these groups."""
    pairs = enumerate(zip(raw.groups, raw.splits, strict=True))
    rows = [row for row, (group, split) in pairs if split != "train" or group in train]
    ids, groups, splits = (tuple(each[row] for row in rows) for each in (raw.ids, raw.groups, raw.splits))
    features = {name: x[torch.tensor(rows)] for name, x in raw.features.items()}
    return replace(raw, features=features, ids=ids, groups=groups, splits=splits, captions={})


@cache
def everything_again(settings: str, seed: int) -> od.DistilledSet:
    """Return a set of all training rows; `settings` are those of `od.distill`, as JSON."""
    data = od.load("emoji")
    start = od.pretrain_heads(data, progress=False)
    return od.distill(data, heads=start, seed=seed, progress=False, **json.loads(settings)).set


def distilled_sets(halves: Halves, settings: Mapping[str, Any], seed: int) -> dict[str, od.DistilledSet]:
    """Return the sets of a table by name."""
    start = od.pretrain_heads(halves.old, progress=False)

    def distil(data: od.FeatureSet, heads: od.InitialHeads) -> od.DistilledSet:
        return od.distill(data, heads=heads, seed=seed, progress=False, **settings).set

    old = distil(halves.old, start)
    new = distil(recentred(halves.new, old.preprocessing, halves.new.widths), start)
    return {
        "everything again": everything_again(json.dumps(settings), seed),
        "old data alone": old,
        "new data alone": new,
        "merged": od.merge(old, new),
        "merged to the size of one": od.merge(old, new, size=old.size),
    }


def rankings(heads: Heads, data: od.FeatureSet) -> list[Ranking]:
    """Return the ranking of each direction."""
    return list(rank_heads(heads, data).values())


def score(heads: Heads, data: od.FeatureSet) -> float:
    """Return the mean of R@1, R@5 and R@10 over all directions, in %."""
    each = [sum(row.values()) / len(row) for row in recalls(rank_heads(heads, data)).values()]
    return 100 * sum(each) / len(each)


def mean_hits_of(heads: Heads, data: od.FeatureSet) -> Hits:
    """Return the mean of the hits at 1, 5 and 10 of every query, one tensor 1 x Q x 1 per direction."""
    return [torch.stack([r.hits(k) for k in RECALL_AT]).mean(0)[None, :, None] for r in rankings(heads, data)]


def part_of(data: od.FeatureSet, old: bool) -> od.FeatureSet:
    """Return the items of the old categories, or of the new ones."""
    category = categories()
    return data.select([row for row, group in enumerate(data.groups) if (category[group] in OLD) == old])


def measure(kind: str, settings: Mapping[str, Any], seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Return one row per set, with scores averaged over the seeds."""
    scores: dict[str, list[dict[str, float]]] = {}
    hits: dict[str, dict[str, list[Hits]]] = {}
    facts: dict[str, dict[str, Any]] = {}
    codes: dict[str, Any] = {}
    for seed in seeds:
        started_at = time.monotonic()
        halves = Halves.of(kind, seed)
        sets = distilled_sets(halves, settings, seed)
        for name, distilled in sets.items():
            heads, data = distilled.train(), recentred(halves.whole, distilled.preprocessing, halves.whole.widths)
            row = {split: score(heads, data.split(split)) for split in SPLITS}
            parts = {"all": data.split("test")}
            if kind == "category":
                parts |= {"old": part_of(parts["all"], True), "new": part_of(parts["all"], False)}
                row |= {part: score(heads, parts[part]) for part in ("old", "new")}
            scores.setdefault(name, []).append(row)
            facts[name] = {"rows": distilled.size, "bytes": distilled.bytes}
            for part, items in parts.items():
                hits.setdefault(part, {}).setdefault(name, []).append(mean_hits_of(heads, items))
                distinct = items.distinct_rows
                names = items.modalities
                codes[part] = [items.group_codes[distinct[q]] for q in names for g in names if q != g]
        print(f"{kind}, seed {seed}: {time.monotonic() - started_at:.0f} s", flush=True)

    def units(part: str, name: str) -> Hits:
        per_seed = [mean_unit(each) for each in hits[part][name]]
        return [torch.cat(list(each)) for each in zip(*per_seed, strict=True)]

    def difference(part: str, first: str, second: str) -> list[float]:
        (result,) = paired_difference(units(part, first), units(part, second), codes[part])
        return [100 * result.mean, 100 * result.low, 100 * result.high]

    rows = []
    for name, of_seeds in scores.items():
        mean = {key: sum(row[key] for row in of_seeds) / len(of_seeds) for key in of_seeds[0]}
        row = {"set": name, **facts[name], **mean}
        if name != "everything again":
            row["to_again"] = difference("all", name, "everything again")
        if kind == "category" and name != "old data alone":
            row["forgetting"] = difference("old", "old data alone", name)
        rows.append(row)
    return rows


def membership(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Membership]:
    """Attack sets of all training rows, the merged set of two random halves, and a set of real rows (seed 0)."""
    halves = Halves.of("random", 0)
    data, start = halves.whole, od.pretrain_heads(halves.whole, progress=False)
    train, test = data.split("train"), data.split("test")
    cca, _ = ridge_cca_heads(accumulate_moments(train, "groups"), 256, 0.3, torch.float32)
    results = {}
    for title, given in settings.items():
        distilled = everything_again(json.dumps(given), 0)
        heads = {"loss": [distilled.train()], "loss_full": [cca], "loss_initial": [dict(start)]}
        results[title] = measure_membership([distilled], heads, train, test)
    quick = {"distill.learning_rates": [0.3], "distill.max_steps": 64}
    real = od.distill(data, heads=start, progress=False, preset="random", size=100, settings=quick).set
    results["100 random real rows"] = measure_membership([real], {"loss": [real.train(start)]}, train, test)
    return results


def markdown(content: Mapping[str, Any], attacks: Mapping[str, Membership]) -> str:
    """Return all tables."""
    lines = [INTRO.strip(), "", content["machine"]]
    for title, rows in content["tables"].items():
        columns = [each for each in COLUMNS if any(each in row for row in rows)]
        lines += ["", f"### {title}", "", f"| set | rows | bytes | {' | '.join(COLUMNS[each] for each in columns)} |"]
        lines.append("|---" * (len(columns) + 3) + "|")
        for row in rows:
            cells = " | ".join(_shown(row.get(each)) for each in columns)
            lines.append(f"| {row['set']} | {row['rows']} | {row['bytes']:,} | {cells} |")
    lines += ["", "### Membership attacks (AUC, 95 % interval over groups; guessing: 0.5)", ""]
    lines += [f"| set | {' | '.join(ATTACKS.values())} |", "|---" * (len(ATTACKS) + 1) + "|"]
    for title, result in attacks.items():
        cells = [result.auc.get(name) for name in ATTACKS]
        texts = [f"{c.mean:.3f} [{c.low:.3f}, {c.high:.3f}]" if c else "" for c in cells]
        lines.append(f"| {title} | {' | '.join(texts)} |")
    return "\n".join(lines) + "\n"


def _shown(value: Any) -> str:
    match value:
        case None:
            return ""
        case [mean, low, high]:
            return f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"
    return f"{value:.1f}"


def main() -> None:
    """Measure, and write the tables."""
    parser = argparse.ArgumentParser(description="Merged sets of two halves of the emoji data.")
    parser.add_argument("--seeds", default="0,1,2", help="seeds of the sets of 100 rows")
    parser.add_argument("--coded-seeds", default="0", help="seeds of the sets of 78 kB")
    parser.add_argument("--quick", action="store_true", help="sets in closed form, which are not learned")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS / "growing", help="output, without suffix")
    options = parser.parse_args()
    quick = {"settings": {"distill.iterations": 0}} if options.quick else {}
    plain, coded = {"size": 100, **quick}, {"bytes": 78_000, **quick}
    content: dict[str, Any] = {"machine": machine(), "tables": {}}
    for kind, title in (("random", "random halves"), ("category", "halves by category")):
        for name, settings, text in (
            ("100 rows in float32", plain, options.seeds),
            ("78 kB, 2 bits", coded, options.coded_seeds),
        ):
            if seeds := [int(seed) for seed in text.split(",") if seed]:
                named = f"{name}, {title}, seeds {', '.join(map(str, seeds))}"
                content["tables"][named] = measure(kind, settings, seeds)
    attacks = membership({"100 rows in float32": plain, "78 kB, 2 bits": coded})
    content["membership"] = {name: each.to_json() for name, each in attacks.items()}
    options.output.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    text = markdown(content, attacks)
    options.output.with_suffix(".md").write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
