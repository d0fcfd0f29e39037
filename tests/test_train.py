"""The main command, from the flags to the output folder."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from hf_sentiment_ft.errors import UsageError

from . import forked
from .conftest import REVIEWS


def test_pipeline_says_what_the_results_say(run_dir: Path, results: dict):
    """The promise of the project: a bare pipeline gives the words, and so the accuracy, that were reported."""
    from transformers import pipeline

    with (run_dir / "test_predictions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    texts = [row["text"] for row in rows]
    with (REVIEWS / "test.csv").open(encoding="utf-8") as file:
        assert texts == [row["text"] for row in csv.DictReader(file)], "predictions are in the order of the dataset"

    classify = pipeline("text-generation", model=str(run_dir))
    one_by_one = [classify(text, return_full_text=False)[0]["generated_text"] for text in texts]
    assert one_by_one == [row["generated_text"] for row in rows]
    in_batches = classify(texts, return_full_text=False, batch_size=8)
    assert [answer[0]["generated_text"] for answer in in_batches] == one_by_one
    right = sum(word == f" {row['label']}" for word, row in zip(one_by_one, rows, strict=True))
    assert right / len(rows) == pytest.approx(results["test_generation_accuracy"])
    assert right > 0, "a tiny model learns at least to say a label word"
    full = classify("a moving, funny film")[0]["generated_text"]
    assert full in ("a moving, funny film negative", "a moving, funny film positive")


def test_output_folder_is_complete(run_dir: Path, results: dict):
    files = {path.name for path in run_dir.iterdir()}
    assert files >= {
        "README.md", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json", "eval_results.json", "test_results.json", "all_results.json", "test_predictions.csv",
    }  # fmt: skip
    for split in ("eval", "test"):
        for name in ("accuracy", "generation_accuracy", "f1_macro", "loss", "log_loss", "expected_calibration_error"):
            assert isinstance(results[f"{split}_{name}"], float)
    assert results["majority_test_accuracy"] == pytest.approx(0.5, abs=0.05)
    assert 0 <= results["zero_shot_test_accuracy"] <= 1
    low, high = results["test_accuracy_interval"]
    assert low < results["test_accuracy"] < high
    counts = results["test_confusion_matrix"]
    total = sum(map(sum, counts))
    assert sum(counts[i][i] for i in range(2)) / total == pytest.approx(results["test_accuracy"])


def test_pad_token_is_the_same_everywhere(run_dir: Path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(run_dir), AutoModelForCausalLM.from_pretrained(run_dir)
    assert tokenizer.pad_token == "[PAD]"
    assert tokenizer.pad_token_id == model.config.pad_token_id == model.generation_config.pad_token_id
    assert tokenizer.pad_token_id not in (0, tokenizer.eos_token_id)
    assert model.get_input_embeddings().num_embeddings == len(tokenizer)


@pytest.mark.parametrize("choice", ["Training in ", "Attention: ", "Not compiled: ", "Micro-batches: "])
def test_what_was_chosen_for_speed_is_said_in_one_line(choice: str, run_dir: Path):
    lines = (run_dir.parent / "printed.txt").read_text().splitlines()
    assert len([line for line in lines if line.startswith(choice)]) == 1


def test_weights_that_are_tied_are_not_called_missing(run_dir: Path):
    assert "missing keys" not in (run_dir.parent / "printed.txt").read_text()


def test_a_run_is_not_overwritten_silently(run_dir: Path, tiny_gpt2: Path, tmp_path: Path):
    before = {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")}
    flags = ["--model_name_or_path", tiny_gpt2, "--dataset_name", REVIEWS, "--output_dir", run_dir]
    codes, printed = forked.train(*flags, cwd=tmp_path)
    assert codes == [2]
    assert "already contains a run" in printed, printed
    assert "--overwrite_output_dir" in printed
    assert {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")} == before


@pytest.mark.parametrize("command", ["train", "evaluate"])
@pytest.mark.parametrize("place", ["", "checkpoint-1"])
def test_the_model_to_start_from_is_never_overwritten(command: str, place: str, run_dir: Path, tmp_path: Path):
    from hf_sentiment_ft import evaluate, train
    from hf_sentiment_ft.config.command_line import parse_train_arguments

    output, model = tmp_path / "output", tmp_path / "output" / place
    shutil.copytree(run_dir, model)
    before = sorted(tmp_path.rglob("*"))
    flags = ["--model_name_or_path", str(model), "--dataset_name", str(REVIEWS)]
    flags += ["--output_dir", str(output), "--overwrite_output_dir"]
    run, parse = {
        "train": (train.run, lambda flags: [parse_train_arguments(flags)]),
        "evaluate": (evaluate.run, evaluate.parse_evaluate_arguments),
    }[command]
    arguments = parse(flags)
    with pytest.raises(UsageError, match=f"--output_dir {output} contains the model {model}"):
        run(*arguments)
    assert sorted(tmp_path.rglob("*")) == before


def test_tutorial_recipe_with_flags_that_win(tiny_gpt2: Path, tmp_path: Path):
    """The tutorial's choices on two processes; its model and data by flags, which win over the recipe."""
    recipe = Path(__file__).parent.parent / "recipes" / "tutorial.yaml"
    flags = ["--model_name_or_path", tiny_gpt2, "--dataset_name", REVIEWS, "--label_words", "neg,pos"]
    flags += ["--eval_steps", 10, "--save_steps", 10, "--max_test_samples", 33]
    printed = forked.finish(recipe, *flags, cwd=tmp_path, processes=2)
    output = tmp_path / "output"
    assert (tmp_path / "data" / "rotten_tomatoes" / "dataset_dict.json").is_file(), "the raw dataset is kept"
    assert (output / "checkpoint-10").is_dir()
    state = json.loads(max(output.glob("checkpoint-*/trainer_state.json")).read_text())
    assert {entry["step"] for entry in state["log_history"] if "eval_loss" in entry} >= {10}
    config = json.loads((output / "config.json").read_text())
    assert config["label_words"] == ["neg", "pos"]
    assert config["prompt_template"] == "{text}{eos_token}{label_word}"
    with (output / "test_predictions.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 33, "every row once, also when it does not divide by two processes"
    assert printed.count("test accuracy") == 1, "one process prints"
    assert "| world_size | 2 |" in (output / "README.md").read_text(encoding="utf-8"), "there were two"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model_name_or_path", "./nowhere"], "which is not a folder"),
        (["--dataset_name", "package:hf_sentiment_ft/nothing"], "the package has no 'nothing'"),
        (["--model_name_or_path", "user/nowhere"], "no model could be loaded from user/nowhere"),
        (["--train_file", "no.csv"], "--train_file is no.csv, which is not a file"),
        (["--learnin_rate", "1"], "did you mean --learning_rate?"),
        (["--push_to_hub"], "hf auth login"),
        (["--resume_from_checkpoint", "nowhere"], "which is not a checkpoint folder"),
    ],
)
def test_a_users_mistake_gives_one_line(
    flags: list[str], message: str, tiny_gpt2: Path, tmp_path: Path, monkeypatch, capsys
):
    """In this process, since each would cost seconds of imports."""
    from hf_sentiment_ft import train

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["train", "--model_name_or_path", str(tiny_gpt2), *flags])
    with pytest.raises(SystemExit) as exit_info:
        train.main()
    assert exit_info.value.code == 2
    printed = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(printed) == 1
    assert message in printed[0]


def test_a_trained_model_is_trained_further_on_this_runs_prompt(
    run_dir: Path, tmp_path: Path, monkeypatch, capsys, caplog
):
    """Without what the prompt before it had put around a text; that it is another one is said."""
    from hf_sentiment_ft import train

    monkeypatch.chdir(tmp_path)
    further = ["--model_name_or_path", str(run_dir), "--dataset_name", str(REVIEWS)]
    template = ["--prompt_template", r"Mood of {text}\nis{label_word}"]
    monkeypatch.setattr("sys.argv", ["train", *further, *template, "--dry_run"])
    train.main()
    printed = capsys.readouterr().out
    text = next(csv.DictReader((REVIEWS / "train.csv").open(encoding="utf-8")))["text"]
    assert repr(f"Mood of {text}\nis")[1:-1] in printed
    assert repr(f"\nMood of {text}\nis")[1:-1] not in printed
    assert "was trained with --prompt_template" in caplog.text
    assert "Rows evaluated here may have been among its train rows" in printed


def test_an_earlier_run_is_kept_until_nothing_is_left_to_refuse(run_dir: Path, tiny_gpt2: Path, tmp_path: Path):
    """Damaged weights of the base model show last, when they are loaded."""
    from hf_sentiment_ft.config.command_line import parse_train_arguments
    from hf_sentiment_ft.train import run

    output, base = tmp_path / "output", tmp_path / "base"
    shutil.copytree(run_dir, output)
    shutil.copytree(tiny_gpt2, base)
    (base / "model.safetensors").write_bytes(b"damaged")

    def files() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.is_file() and path.name != ".lock"}

    before = files()
    flags = ["--model_name_or_path", str(base), "--dataset_name", str(REVIEWS), "--output_dir", str(output)]
    with pytest.raises(UsageError, match="no causal language model could be loaded"):
        run(parse_train_arguments([*flags, "--overwrite_output_dir"]))
    assert {
        path: path.stat().st_mtime_ns for path in output.rglob("*") if path.is_file() and path.name != ".lock"
    } == before
