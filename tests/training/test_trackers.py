"""What a run leaves in its trackers, which run for real and offline."""

from pathlib import Path

import pytest

from hf_sentiment_ft.config.command_line import parse_train_arguments
from hf_sentiment_ft.errors import UsageError

from .. import forked
from ..conftest import REVIEWS


def test_results_and_confusion_matrix_are_in_the_one_run_of_each_tracker(tiny_gpt2: Path, tmp_path: Path):
    """By default, Trainer ends the run before the results are measured, and then begins a second one."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    flags = ["--dataset_name", REVIEWS, "--max_train_samples", 16, "--max_eval_samples", 8, "--max_test_samples", 8]
    flags += ["--model_name_or_path", tiny_gpt2, "--report_to", "tensorboard", "trackio", "--project", "tiny"]
    printed = forked.finish(*flags, cwd=tmp_path, TRACKIO_DIR=str(tmp_path / "trackio"))
    (events,) = tmp_path.glob("output/runs/*/events*")
    board = EventAccumulator(str(events)).Reload()
    assert {"eval/accuracy", "test/accuracy", "train/majority_test_accuracy"} <= {*board.Tags()["scalars"]}
    assert board.Tags()["images"] == ["confusion_matrix"]
    (text,) = board.Tensors("files/text_summary")
    assert str(tmp_path / "output" / "report.html") in text.tensor_proto.string_val[0].decode()
    assert printed.count("* Created new run") == 1
    assert len(list(tmp_path.glob("trackio/media/tiny/*/*/*.png"))) == 1


def test_trackio_makes_no_space_unasked(monkeypatch: pytest.MonkeyPatch):
    args = parse_train_arguments(["--report_to", "trackio", "--push_to_hub", "--hub_model_id", "a/b"]).training
    assert args.trackio_space_id is None
    assert args.trackio_static_space_id is False, "None is a public Space of a name that Trainer makes up"
    monkeypatch.setenv("TRACKIO_SPACE_ID", "a/runs")
    with pytest.raises(UsageError, match="Pass --trackio_space_id a/runs if that is intended"):
        parse_train_arguments(["--report_to", "trackio"])
    asked = parse_train_arguments(["--report_to", "trackio", "--trackio_space_id", "a/runs"])
    assert asked.training.trackio_space_id == "a/runs"
