"""Several base models, each trained by the same flags: what each needs, and one table of all."""

import csv
import json
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from .. import data, model, runtime
from ..config.arguments import Arguments
from ..config.command_line import parse_train_arguments
from ..errors import UsageError
from ..evaluation.results import Evaluation, compare
from ..label_words.task import build_task
from ..training.fingerprint import refuse_other_settings, settings_of
from ..training.plan import duration, num_parameters

if TYPE_CHECKING:
    from ..data.splits import LabelledSplits
    from ..model.loading import ModelSource

logger = logging.getLogger(__name__)

WIDTH = 80
NAME_WIDTH = 21
SAMPLING_SECONDS = 0.05
WEIGHTS = ("*.safetensors", "*.bin", "*.gguf")


class PeakMemory:
    """Measure the most memory that this process occupies at a time: of the GPU if it has one, otherwise RAM."""

    def __init__(self) -> None:
        self.peak = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "PeakMemory":
        import torch

        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        else:
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        import torch

        if torch.cuda.is_available():
            self.peak = torch.cuda.max_memory_allocated()
        else:
            self._ended.set()
            self._thread.join()

    def _watch(self) -> None:
        process = psutil.Process()
        while True:
            self.peak = max(self.peak, process.memory_info().rss)
            if self._ended.wait(SAMPLING_SECONDS):
                return


def compare_base_models(
    flags: Arguments, of_model: dict[str, list[str]], train: Callable[[list[str], Arguments], None]
) -> None:
    """Train each model in a folder of its own, after checking all, and compare them on the same rows.

    Args:
        flags: Arguments that all models share.
        of_model: Command line of each model, by its name.
        train: Function that trains, given a command line, and the same parsed.

    Raises:
        UsageError: If one of the models cannot be trained, before any is; or if other models were trained otherwise.
    """
    # 1. Check the output folder and all models.
    args, output_dir = flags.training, Path(str(flags.training.output_dir))
    resumed = args.resume_from_checkpoint == "true"
    args.resume_from_checkpoint = "true" if resumed else None
    runtime.start(flags)
    data.check_files(flags.data)
    runtime.check_output_dir(args, flags.run.overwrite_output_dir, list(of_model), [runtime.COMPARISON])
    settings = {name: value for name, value in settings_of(flags).items() if name != "model_name_or_path"}
    done = _read_done(output_dir, settings) if resumed else {}
    with runtime.first_process_first(args, "loading the dataset"):
        rows = data.load_splits(flags.data, args.seed, flags.model.label_words)
    parameters = {name: _check_model(parse_train_arguments(argv), rows) for name, argv in of_model.items()}
    if flags.run.dry_run:
        for argv in of_model.values():
            train(argv, parse_train_arguments(argv))
        return
    runtime.begin_run(args, [runtime.COMPARISON])

    # 2. Train one model after the other, unless it is done, and compare those that are.
    evaluations: list[Evaluation] = []
    for number, (name, argv) in enumerate(of_model.items(), 1):
        one, costs = parse_train_arguments(argv), done.get(name)
        folder = Path(str(one.training.output_dir))
        if costs is None:
            logger.info("\n%s, %d of %d, in %s", name, number, len(of_model), folder)
            runtime.return_freed_memory()
            with PeakMemory() as memory:
                train(argv, one)
            costs = {"peak_memory": runtime.greatest(args, memory.peak), "parameters": parameters[name]}

        def save(name: str = name, folder: Path = folder, costs: dict[str, Any] = costs) -> None:
            evaluations.append(read_evaluation(folder, name, costs))
            runtime.begin_files(output_dir, [runtime.COMPARISON])
            text = json.dumps(compare(evaluations) | {"settings": settings}, indent=2, ensure_ascii=False)
            (output_dir / runtime.COMPARISON).write_text(text + "\n", encoding="utf-8")
            runtime.record_files(output_dir)

        runtime.on_first_process(args, "comparing the models", save)
    if args.process_index == 0:
        print("", *comparison_lines(compare(evaluations)), "", sep="\n")
        print(f"Nothing was published. To publish one:\n  python -m hf_sentiment_ft.publish {output_dir}/NAME")


def _read_done(output_dir: Path, settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the figures of the models that are done, by name, after checking that they had the same settings."""
    path = output_dir / runtime.COMPARISON
    if not path.is_file():
        return {}
    saved = json.loads(path.read_text(encoding="utf-8"))
    refuse_other_settings(output_dir, saved.get("settings", {}), settings)
    return {one["model"]: one for one in saved["models"]}


def _check_model(flags: Arguments, rows: "LabelledSplits") -> int:
    """Check as far as possible without its weights that a model can be trained; return its number of parameters."""
    base = model.find_model_to_train(flags.model)
    check_weights(base)
    config = model.load_config(base)
    model.check_lora(flags.model, base.path, config, flags.training)
    build_task(flags.model, base, config, rows)
    return num_parameters(config, flags.model.trust_remote_code)


def check_weights(base: "ModelSource") -> None:
    """Refuse a folder without weights, which would be noticed only after other models are trained.

    Raises:
        UsageError: If the model is a folder that contains none.
    """
    folder = Path(base.path)
    if folder.is_dir() and not any(path for pattern in WEIGHTS for path in folder.glob(pattern)):
        raise UsageError(f"--model_name_or_path names {folder}, which contains no weights. Remove it.")


def read_evaluation(folder: Path, name: str, costs: dict[str, Any]) -> Evaluation:
    """Read the result of a finished run, on the test split or else on the validation split.

    Args:
        folder: Output folder of the run.
        name: Name of the model, as given by the user.
        costs: What else is known of it, such as the memory that training took.
    """
    results = json.loads((folder / "all_results.json").read_text(encoding="utf-8"))
    prefix = "test" if "test_accuracy" in results else "eval"
    figures = {name.removeprefix(f"{prefix}_"): value for name, value in results.items() if name.startswith(prefix)}
    with (folder / f"{prefix}_predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        columns = [name for name in rows.fieldnames or () if f"prediction_{name}" in (rows.fieldnames or ())]
        answers = [(name, f"prediction_{name}") for name in columns] or [("label", "prediction")]
        correct = np.array([all(row[true] == row[predicted] for true, predicted in answers) for row in rows])
    figures["weights_size"] = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    figures["train_runtime"] = results["train_runtime"]
    return Evaluation(name, {"test": "test", "eval": "validation"}[prefix], figures | costs, correct)


def comparison_lines(comparison: dict[str, Any]) -> list[str]:
    """Describe a comparison in lines of at most 80 columns, the most accurate model first."""
    models = sorted(comparison["models"], key=lambda one: -one["accuracy"])
    lines = [
        f"{comparison['split']} split, {comparison['rows']} rows; accuracy with its 95 % interval",
        "",
        f"{'model':<{NAME_WIDTH}} {'accuracy':>18} {'log loss':>8} {'cal.err':>7} {'trained':>9} "
        f"{'memory':>6} {'disk':>5}",
    ]
    for one in models:
        low, high = (f"{100 * end:.1f}" for end in one["accuracy_interval"])
        interval = f"{100 * one['accuracy']:.1f} ({low}–{high})"
        lines.append(
            f"{_shorten(one['model']):<{NAME_WIDTH}} {interval:>18} {one['log_loss']:>8.4f} "
            f"{one['expected_calibration_error']:>7.4f} {duration(one['train_runtime']):>9} "
            f"{_size(one['peak_memory']):>6} {_size(one['weights_size']):>5}"
        )
    lines += ["", "parameters"] + [f"  {one['parameters']:>15,}  {_shorten(one['model'], 60)}" for one in models]
    lines += ["", "McNemar's exact test: rows that only one of two models gets right"]
    for pair in comparison["pairs"]:
        first, second = _shorten(pair["first"], 24), _shorten(pair["second"], 24)
        lines.append(
            f"  {first} {pair['only_first_right']}, {second} {pair['only_second_right']}, p {pair['p_value']:.3g}"
        )
    return lines


def _shorten(name: str, width: int = NAME_WIDTH) -> str:
    """Return a name without its beginning, if it is long: the end tells models apart."""
    return name if len(name) <= width else f"…{name[1 - width :]}"


def _size(size: int) -> str:
    return f"{size / 1e9:.1f}G" if size >= 1e9 else f"{size / 1e6:.0f}M"
