"""Step size with which networks learn from a set, on validation: `python benchmarks/network_steps.py`.

MLPs learn the heads of a set by the recipe "map" with several step sizes, and all training rows by InfoNCE with AdamW.
The set has 1 % of the bytes of the emoji data. Scores are means of R@1, R@5 and R@10 over all directions, for two
random initialisations each. The test split is not used. Writes results/network_steps.md.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import mean

import torch

from measuring import RESULTS, machine
from omnidistill.data.datasets import opened
from omnidistill.experiments.crossed.crossed_models import network, outputs_of_modules, validation_score_of
from omnidistill.experiments.crossed.crossed_settings import load_crossed
from omnidistill.experiments.crossed.train_on_all_rows import networks_on_all_rows
from omnidistill.experiments.crossed.train_on_set import Networks
from omnidistill.experiments.run import distill
from omnidistill.training.recipes.anchor_regression import Anchor
from omnidistill.training.recipes.map_regression import MapRegression

SIZES = ((2, 512), (3, 512), (4, 512), (2, 1024))
"""(number of layers, width of the hidden layers) of each network."""
STEP_SIZES = (0.001, 0.002, 0.003, 0.006)
WIDTH, SEEDS = 256, (0, 1)


def main() -> None:
    data = opened("emoji")
    development = data.development()
    distilled = distill(data, preset="anchor-coded", bytes="1%", device="cpu").set
    anchor, crossed = distilled.recipe, load_crossed()
    assert isinstance(anchor, Anchor)
    rows = distilled.training_rows(torch.device("cpu"))

    def on_set(networks: Networks, step_size: float, seed: int) -> float:
        recipe = MapRegression(ridges=anchor.ridges, cutoff=anchor.cutoff, learning_rate=step_size)
        recipe.train_modules(networks, rows, seed=seed)
        return validation_score_of(outputs_of_modules(networks), development.validation)

    def on_all_rows(networks: Networks, step_size: float, seed: int) -> float:
        settings = crossed.evolve(network_learning_rate=step_size, seed=seed)
        (outputs,), _ = networks_on_all_rows(networks, development, settings)
        return validation_score_of(outputs, development.validation)

    def scores(train: Callable[[Networks, float, int], float], layers: int, hidden: int) -> list[str]:
        cells = []
        for step_size in STEP_SIZES:
            found = []
            for seed in SEEDS:
                generator = torch.Generator().manual_seed(100 * layers + seed)
                networks = network(data.widths, hidden, layers, WIDTH, generator, torch.device("cpu"))
                found.append(train(networks, step_size, seed))
            cells.append(f"{100 * mean(found):.1f}")
        return cells

    lines = [f"Mean of R@1, R@5 and R@10 on validation, in %. {machine(torch.device('cpu'))}", ""]
    lines += [
        f"| layers, width | trained on | {' | '.join(map(str, STEP_SIZES))} |",
        "|---|---|" + "---|" * len(STEP_SIZES),
    ]
    for layers, hidden in SIZES:
        lines.append(f"| {layers}, {hidden} | set | {' | '.join(scores(on_set, layers, hidden))} |")
        print(lines[-1], flush=True)
    for layers, hidden in SIZES[:2]:
        lines.append(f"| {layers}, {hidden} | all rows | {' | '.join(scores(on_all_rows, layers, hidden))} |")
        print(lines[-1], flush=True)
    (RESULTS / "network_steps.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
