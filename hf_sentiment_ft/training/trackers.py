"""Log the results of a run to its trackers (`--report_to`): figures, confusion matrix, and where report and card are.

Trainer's own callbacks log everything before: losses, validations, flags.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import Trainer, TrainerCallback

PICTURES = ("confusion_matrix", "calibration")
BASELINES = ("zero_shot_test_", "tfidf_test_", "majority_test_")


def keep_trackers_open(trainer: "Trainer") -> None:
    """Let trackers wait at the end of training, for the results; otherwise, they would begin a second run for them."""
    for tracker in _trackers(trainer):
        tracker.on_train_end = lambda *args, **kwargs: None


def log_results(trainer: "Trainer", results: dict[str, Any], report: Path) -> None:
    """Log the results to each tracker, and end its run.

    Args:
        trainer: Trainer that has trained.
        results: All metrics, with the keys of `all_results.json`.
        report: The report of the run, in its output folder beside the card and the plots.
    """
    reported = "test_" if "test_accuracy" in results else "eval_"
    figures = {
        name: value
        for name, value in results.items()
        if name.startswith((reported, *BASELINES)) and isinstance(value, int | float)
    }
    event: Any = (trainer.args, trainer.state, trainer.control)
    for tracker in _trackers(trainer):
        tracker.on_log(*event, model=trainer.model, logs=dict(figures))
        _log_files(tracker, trainer.state.global_step, report.resolve())
        type(tracker).on_train_end(tracker, *event, model=trainer.model, processing_class=trainer.processing_class)


def _trackers(trainer: "Trainer") -> list[Any]:
    """Return the callbacks that Trainer has added for `--report_to`."""
    from transformers.integrations import get_reporting_integration_callbacks

    kinds: tuple[type[TrainerCallback], ...] = tuple(get_reporting_integration_callbacks(trainer.args.report_to))
    return [callback for callback in trainer.callback_handler.callbacks if isinstance(callback, kinds)]


def _log_files(tracker: Any, step: int, report: Path) -> None:
    """Log the confusion matrix and where the report and the card are, in each tracker's own way.

    Where there are several questions, there is no such matrix, but a plot of the calibration.
    """
    plots, card = report.parent / "plots", report.parent / "README.md"
    picture = next(path for name in PICTURES if (path := plots / f"{name}.png").is_file())
    links = f"Report: {report}\n\nModel card: {card}"
    match type(tracker).__name__:
        case "TensorBoardCallback":
            from matplotlib.image import imread

            tracker.tb_writer.add_image(picture.stem, imread(picture), step, dataformats="HWC")
            tracker.tb_writer.add_text("files", links, step)
        case "TrackioCallback":
            import trackio

            trackio.log({picture.stem: trackio.Image(picture), "files": trackio.Markdown(links)})
        case "WandbCallback":
            import wandb

            wandb.log({picture.stem: wandb.Image(str(picture))})
            wandb.summary.update({"report": str(report), "card": str(card)})
        case "MLflowCallback":
            import mlflow

            for file in (picture, report, card):
                mlflow.log_artifact(str(file))
