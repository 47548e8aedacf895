"""What help shows of each verb beside its options: those of them that come first, and commands to begin with."""

from __future__ import annotations

MAIN: dict[str, tuple[str, ...]] = {
    "pack": ("--features", "--table"),
    "encode": ("--resume", "--dry-run", "--device"),
    "manifest": ("--modalities",),
    "heads": ("--preset", "--set"),
    "experts": ("--preset", "--set", "--dry-run"),
    "distill": ("--size", "--bytes", "--preset", "--set", "--resume", "--dry-run"),
    "evaluate": ("--seeds", "--json"),
    "report": ("--media",),
    "compare": ("--preset", "--methods", "--sizes", "--bytes", "--seeds", "--resume", "--dry-run"),
    "push": ("--licence", "--dry-run"),
    "inspect": ("--verify", "--json"),
    "doctor": ("--json",),
    "presets": ("--json",),
    "config": ("--preset", "--set", "--explain"),
}
"""Options of a verb that are shown first, beside those that are required or have a letter of their own."""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "demo": ("omnidistill demo", "omnidistill demo -o first-look"),
    "doctor": ("omnidistill doctor", "omnidistill doctor --json"),
    "pack": (
        "omnidistill pack --features feats.npz --table rows.csv -o SET",
        "omnidistill pack --features features/ --table rows.jsonl --group video_id -o SET",
    ),
    "encode": (
        "omnidistill encode items.csv --encoder efficientnet-lite2 --encoder minilm-l6 -o SET --dry-run",
        "omnidistill encode items.csv --encoder clip-image:FOLDER --encoder clip-text:FOLDER -o SET",
    ),
    "manifest": (
        "omnidistill manifest media/ -o media/items.csv",
        "omnidistill manifest media/items.csv --missing fail",
    ),
    "recipe": ("omnidistill recipe msrvtt-1ka MSRVTT/ -o MSRVTT/items.csv",),
    "convert": (
        "omnidistill convert imagebind imagebind_huge.pth -o ImageBind",
        "omnidistill convert languagebind LanguageBind_Audio/ --modality audio -o LanguageBind",
    ),
    "heads": ("omnidistill heads SET -o HEADS", "omnidistill heads SET --heads given.safetensors -o HEADS"),
    "experts": (
        "omnidistill experts SET -o BUFFER --dry-run",
        "omnidistill experts emoji --preset hopa --set experts.num_experts=5 -o BUFFER",
    ),
    "distill": (
        "omnidistill distill emoji --size 30 -o RUN",
        "omnidistill distill SET --bytes 1% --heads HEADS -o RUN",
        "omnidistill distill SET --preset hopa --set distill.iterations=500 -o RUN --dry-run",
    ),
    "evaluate": ("omnidistill evaluate RUN", "omnidistill evaluate RUN --seeds 20 --json > scores.json"),
    "report": ("omnidistill report RUN", "omnidistill report RUN OTHER -o both.html"),
    "compare": (
        "omnidistill compare emoji --preset quick -o CMP --dry-run",
        "omnidistill compare SET --methods recommended,apm,k-medoids --sizes 100,200 -o CMP",
    ),
    "export": ("omnidistill export RUN -o set.parquet",),
    "push": ("omnidistill push RUN me/my-set --dry-run",),
    "pull": ("omnidistill pull me/my-set -o SET",),
    "inspect": ("omnidistill inspect RUN", "omnidistill inspect SET --verify --json"),
    "cite": ("omnidistill cite RUN > used.bib", "omnidistill cite hopa imagebind-video"),
    "presets": ("omnidistill presets",),
    "config": ("omnidistill config --preset hopa > run.json", "omnidistill config --explain"),
    "completion": (
        'eval "$(omnidistill completion bash)"',
        "omnidistill completion fish > ~/.config/fish/completions/omnidistill.fish",
    ),
}
"""Commands by verb; each of them is one that can be typed."""
