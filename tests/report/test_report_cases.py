"""Cases equal a search with plain loops, are deterministic, and are unchanged after saving and loading."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest
import torch

from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.report.cases import COMPARED, find_cases, load_cases, save_cases
from small_runs import features, small_heads


@pytest.fixture(scope="module")
def held_out() -> FeatureSet:
    return features(3).split("test")


@pytest.fixture(scope="module")
def lines() -> dict[str, TrainedHeads]:
    data = features(3)
    return {
        name: TrainedHeads(
            name, ({m: torch.stack([w, -w]) for m, w in small_heads(data, seed=seed).items()},), 0, 0.0, {}
        )
        for seed, name in enumerate(COMPARED)
    }


def cosines(line: TrainedHeads, test: FeatureSet, row: int, pair: tuple[str, str]) -> list[float]:
    heads = {name: matrix[0] for name, matrix in line.heads.items()}
    query = heads[pair[0]] @ test.features[pair[0]][row]
    return [float(torch.cosine_similarity(query, heads[pair[1]] @ x, dim=0)) for x in test.features[pair[1]]]


def rank(line: TrainedHeads, test: FeatureSet, row: int, pair: tuple[str, str]) -> int:
    scores = cosines(line, test, row, pair)
    best = max(score for score, group in zip(scores, test.groups, strict=True) if group == test.groups[row])
    return 1 + sum(score > best for score in scores)


def test_cases_are_the_largest_rises_and_falls_by_a_plain_search(
    lines: dict[str, TrainedHeads], held_out: FeatureSet
) -> None:
    found = find_cases(lines, held_out)
    changes = {
        (pair, row): math.log2(rank(lines["zero_shot"], held_out, row, pair))
        - math.log2(rank(lines["distilled"], held_out, row, pair))
        for pair in permutations(held_out.modalities, 2)
        for row in range(len(held_out))
    }
    values = list(changes.values())
    assert (found.rose, found.fell) == (sum(v > 1e-9 for v in values), sum(v < -1e-9 for v in values))
    assert found.rose + found.fell + found.stayed == len(values)
    assert len(found.cases) == 12
    groups = [held_out.groups[held_out.ids.index(case.query)] for case in found.cases]
    assert len(set(groups)) == len(groups)
    first = next(iter(permutations(held_out.modalities, 2)))
    top = next(case for case in found.cases if case.rose and (case.query_modality, case.gallery_modality) == first)
    best = max(value for (pair, _), value in changes.items() if pair == first)
    assert changes[first, held_out.ids.index(top.query)] == pytest.approx(best)
    for case in found.cases:
        row, pair = held_out.ids.index(case.query), (case.query_modality, case.gallery_modality)
        assert (changes[pair, row] > 0) == case.rose
        for name, line in lines.items():
            assert case.ranks[name] == rank(line, held_out, row, pair)
            scores = cosines(line, held_out, row, pair)
            order = sorted(range(len(scores)), key=lambda item: -scores[item])
            first = list({held_out.groups[item]: item for item in reversed(order)}.values())[::-1]
            best = sorted(first, key=lambda item: -scores[item])[:5]  # one per group
            assert [item.id for item in case.retrieved[name]] == [held_out.ids[item] for item in best]
            assert [item.hit for item in case.retrieved[name]] == [
                held_out.groups[item] == held_out.groups[row] for item in best
            ]


def test_equal_lines_have_no_cases_and_equal_input_gives_equal_cases(
    lines: dict[str, TrainedHeads], held_out: FeatureSet
) -> None:
    assert find_cases(lines, held_out) == find_cases(lines, held_out)
    same = find_cases({**lines, "distilled": replace(lines["zero_shot"])}, held_out)
    assert (same.rose, same.fell, same.cases) == (0, 0, ())


def test_cases_survive_the_way_to_disk(lines: dict[str, TrainedHeads], held_out: FeatureSet, tmp_path: Path) -> None:
    found = find_cases(lines, held_out)
    save_cases(found, tmp_path / "cases.json")
    assert load_cases(tmp_path / "cases.json", held_out) == found
    assert load_cases(tmp_path / "absent.json", held_out) is None


def test_files_of_earlier_versions_are_shown_with_one_item_per_group(
    lines: dict[str, TrainedHeads], held_out: FeatureSet, tmp_path: Path
) -> None:
    found = find_cases(lines, held_out)
    group = held_out.groups[0]
    twins = [name for name, own in zip(held_out.ids, held_out.groups, strict=True) if own == group]
    assert len(twins) == 2
    save_cases(found, tmp_path / "cases.json")
    content = json.loads((tmp_path / "cases.json").read_text("utf-8"))
    content["cases"][0]["retrieved"]["full"] = [{"id": name, "hit": False} for name in twins]
    (tmp_path / "cases.json").write_text(json.dumps(content), "utf-8")
    loaded = load_cases(tmp_path / "cases.json", held_out)
    assert loaded is not None
    assert [each.id for each in loaded.cases[0].retrieved["full"]] == twins[:1]
    assert loaded.cases[1:] == found.cases[1:]


@pytest.mark.parametrize(
    "change",
    [
        *({"schema": 2}, {"rose": "many"}, {"rose": -1}, {"cases": [{"query": "a"}]}, {"cases": [3]}, {"cases": None}),
        *({"query": "nobody"}, {"query_modality": "smell"}, {"rose": 1}, {"ranks": {}}, {"ranks": {"distilled": "1"}}),
        *({"retrieved": {}}, {"retrieved": {name: [{"id": "nobody", "hit": True}] for name in COMPARED}}),
    ],
)
def test_damaged_cases_are_refused_in_one_line(
    lines: dict[str, TrainedHeads], held_out: FeatureSet, tmp_path: Path, change: dict[str, object]
) -> None:
    path = tmp_path / "cases.json"
    save_cases(find_cases(lines, held_out), path)
    content = json.loads(path.read_text("utf-8"))
    if set(change) <= set(content) and change != {"rose": 1}:
        content |= change
    else:
        content["cases"][0] |= change
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(InputError, match="evaluate the run again") as caught:
        load_cases(path, held_out)
    assert "\n" not in str(caught.value)
