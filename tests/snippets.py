"""What documentation says, taken out of it: Python that is run, commands that are parsed or run.

Pages share a folder of small planted files (SET, RUN, features.npz ...), and presets are made to run in a moment.
"""

from __future__ import annotations

import importlib.util
import re
from copy import deepcopy
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from layout_files import picture, vectors, write_embeddings, write_img2dataset
from omnidistill.data import emoji
from omnidistill.data.emoji import emoji_picture, load_emoji
from omnidistill.data.featureset import prepare
from omnidistill.data.planted import planted
from omnidistill.data.store import save_features
from omnidistill.experiments.config import has_setting, load, load_config, parse_config
from small_runs import run_distill

ROOT = Path(__file__).parents[1]
WIDTHS = {"image": 14, "text": 12, "audio": 16}
PLANTED = {"heads": 40, "train": 200, "validation": 40, "test": 40}

EVERY = (
    "heads.width=8",
    "heads.num_epochs=1",
    "experts.num_experts=1",
    "experts.num_starts=1",
    "experts.random_starts=0",
    "experts.num_epochs=2",
    "experts.learning_rate=1.0",
    "evaluate.num_seeds=2",
    "evaluate.max_epochs=2",
    "evaluate.learning_rates=[1.0]",
    "distill.iterations=2",
    "distill.cca_ridges=[0.3]",  # those of the default method, which scores every combination with the cutoffs
    "distill.ridges=[0.1]",
    "distill.cutoffs=[0.5]",
)
LEARNED = (
    "distill.num_student_steps=4",
    "distill.outer.num_expert_epochs=1",
    "distill.outer.max_start_epoch=1",
    "distill.validate_every=25",  # what a page sets is 50 iterations
)
CHOSEN = ("distill.learning_rates=[1.0]", "distill.max_steps=8")


def pages() -> list[Path]:
    """Everything that is documentation for users."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def shows_outputs(page: Path) -> bool:
    """Whether a page shows what its code prints; docs/execute.py runs such pages."""
    return "\n```output\n" in page.read_text("utf-8")


def module(path: Path) -> ModuleType:
    """A script, such as one of the documentation, as a module."""
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(path.parent)  # as when it is run, or loaded as a hook of mkdocs
        spec.loader.exec_module(made)
    return made


def python_blocks(text: str) -> list[str]:
    """The fenced Python of a page."""
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def toml_files(text: str) -> dict[str, str]:
    """The fenced TOML whose first line names a file: `# NAME.toml: ...`."""
    return {name: block for block, name in re.findall(r"^```toml\n(# ([\w-]+\.toml):.*?)^```", text, re.DOTALL | re.M)}


def commands(text: str) -> list[list[str]]:
    """The arguments of every `omnidistill` line of an indented block."""
    listed: list[list[str]] = module(ROOT / "docs/execute.py").commands(text)
    return listed


def quick(words: list[str]) -> list[str]:
    """A command for the planted files: budgets in bytes are small, as they are, and nothing else starts processes."""
    shares = {"1%": "20%", "0.1%,1%": "20%,30%"}  # of small data, so that two rows and their files fit
    words = [shares.get(word, re.sub(r"^\d+kB$", "4kB", word)) for word in words]
    return [*words, "--workers", "0"] if words[0] == "encode" else words


def make_presets_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every preset with few epochs, iterations and steps, whatever it says."""
    whole = load._preset

    def quick(name: str) -> dict[str, Any]:
        tree = whole(name)
        config = parse_config(deepcopy(tree), name)
        settings = (*EVERY, *(LEARNED if config.distill.has_iterations else CHOSEN))
        for setting in settings:
            key, _, literal = setting.partition("=")
            if has_setting(config, setting):
                load._assign(tree, key, load._literal(literal), name)
        return tree

    monkeypatch.setattr(load, "_preset", quick)


def make_emoji_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Features of the emoji with few numbers: most baselines decompose matrices of their width."""
    whole = emoji.read_tensors
    monkeypatch.setattr(
        emoji, "read_tensors", lambda path: {name: x[:, :48].contiguous() for name, x in whole(path).items()}
    )


def plant(folder: Path) -> None:
    """The files that pages speak of: SET, RUN (a finished run), features.npz and rows.csv, HEADS.safetensors, MEDIA."""
    raw = planted(WIDTHS, PLANTED, latent=6)
    save_features(prepare(raw), folder / "SET")
    np.savez(folder / "features.npz", **{name: x.numpy() for name, x in raw.features.items()})
    rows = zip(raw.ids, raw.groups, raw.splits, strict=True)
    lines = ["id,group,split", *(",".join(row) for row in rows)]
    (folder / "rows.csv").write_text("\n".join(lines) + "\n", "utf-8")
    config = load_config(preset="recommended", overrides=["distill.size=30"])
    run_distill(str(folder / "SET"), config, folder / "RUN")
    (folder / "MEDIA").mkdir()
    drawn = load_emoji(["noto"])
    for name, text in list(zip(drawn.groups, drawn.captions["text"], strict=True))[:48]:
        (folder / f"MEDIA/{name}.png").write_bytes(emoji_picture(name) or b"")
        (folder / f"MEDIA/{name}.txt").write_text(text, "utf-8")
    (folder / "semicolons.csv").write_text("\n".join(lines).replace(",", ";") + "\n", "utf-8")
    plant_layouts(folder)
    for name in ("HEADS", "OTHER"):
        (tensors,) = (folder / "RUN/heads").glob("tensors*.safetensors")
        (folder / f"{name}.safetensors").write_bytes(tensors.read_bytes())


def plant_layouts(folder: Path) -> None:
    """Data as other tools store it: EMB of clip-retrieval, SAVED and SAVED2 of datasets, SHARDS of img2dataset."""
    import datasets

    write_embeddings(folder / "EMB")
    for number in range(2):
        write_img2dataset(folder / f"SHARDS/{number:05d}.tar", range(24 * number, 24 * number + 24))
    datasets.disable_progress_bars()
    columns = {f"{name}_embedding": x.tolist() for name, x in vectors().items()}
    datasets.Dataset.from_dict(columns).save_to_disk(folder / "SAVED")
    files = [{"bytes": picture(row), "path": None} for row in range(24)]
    features = datasets.Features({"image": datasets.Image(), "caption": datasets.Value("string")})
    pictures = datasets.Dataset.from_dict(
        {"image": files, "caption": [f"caption {row}" for row in range(24)]}, features
    )
    pictures.save_to_disk(folder / "SAVED2")
