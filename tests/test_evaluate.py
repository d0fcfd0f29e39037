"""Evaluation without training: the same figures as a training run's, for models of ours and any others."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hf_sentiment_ft import evaluate
from hf_sentiment_ft import model as model_package
from hf_sentiment_ft.config.arguments import DataArguments, ModelArguments
from hf_sentiment_ft.data.splits import load_splits
from hf_sentiment_ft.errors import UsageError
from hf_sentiment_ft.label_words.prompt import build_prompt, put_prompt_into_tokenizer, read_prompt
from hf_sentiment_ft.label_words.task import prepare_task

from .conftest import REVIEWS, ROOT, launch
from .tiny import KINDS, base_tokenizer, count_loaded, write_csv

TIMES = ("runtime", "per_second")


def call(*flags: object) -> None:
    """Run the command in this process."""
    words = [*flags, "--disable_tqdm", True]
    evaluate.run(*evaluate.parse_evaluate_arguments([str(word) for word in words]))


def figures(folder: Path, prefix: str = "test_") -> dict[str, Any]:
    """Figures under a prefix, without it and without what a clock says."""
    results = json.loads((folder / "all_results.json").read_text())
    named = {name.removeprefix(prefix): value for name, value in results.items() if name.startswith(prefix)}
    return {name: value for name, value in named.items() if not name.endswith(TIMES)}


def predictions(folder: Path) -> list[dict[str, str]]:
    with (folder / "test_predictions.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def compared(run_dir: Path, tiny_gpt2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained model beside the one that it was trained from."""
    output = tmp_path_factory.mktemp("compared")
    call("--model_name_or_path", run_dir, tiny_gpt2, "--dataset_name", REVIEWS, "--output_dir", output)
    return output


def own_folder(output: Path, model: Path) -> Path:
    return output / evaluate.folder_name(str(model))


def test_a_model_of_ours_gets_the_figures_of_its_training_run(compared: Path, run_dir: Path, results: dict):
    folder = own_folder(compared, run_dir)
    expected = {name: results[f"test_{name}"] for name in figures(folder)}
    assert {"accuracy", "generation_accuracy", "log_loss", "per_class", "confusion_matrix"} <= set(expected)
    for name, value in figures(folder).items():
        approximate = value if isinstance(value, dict) or name == "confusion_matrix" else pytest.approx(value, abs=1e-5)
        assert expected[name] == approximate, name
    for mine, trained in zip(predictions(folder), predictions(run_dir), strict=True):
        for name in mine:
            if name.startswith("probability_"):
                assert float(mine[name]) == pytest.approx(float(trained[name]), abs=1e-5)
            else:
                assert mine[name] == trained[name]


def test_calibration_is_the_models_own(run_dir: Path, tiny_gpt2: Path):
    """Its `pipeline` would not follow another one."""
    data = load_splits(DataArguments(dataset_name=str(REVIEWS)), seed=0)
    tasks = [prepare_task(ModelArguments(str(model), calibration="contextual"), data) for model in (run_dir, tiny_gpt2)]
    assert [task.args.calibration for task in tasks] == [None, "contextual"]


def test_any_other_model_is_asked_as_the_flags_say(compared: Path, tiny_gpt2: Path, results: dict):
    """By default as a training run asks the model that it starts from."""
    found = figures(own_folder(compared, tiny_gpt2))
    for name in ("accuracy", "generation_accuracy", "log_loss", "f1_macro"):
        assert found[name] == pytest.approx(results[f"zero_shot_test_{name}"], abs=1e-5)
    assert found["confusion_matrix"] == results["zero_shot_test_confusion_matrix"]


def test_models_are_compared_row_by_row(compared: Path, run_dir: Path, tiny_gpt2: Path):
    comparison = json.loads((compared / "comparison.json").read_text())
    assert [model["model"] for model in comparison["models"]] == [str(run_dir), str(tiny_gpt2)]
    right = [
        [row["prediction"] == row["label"] for row in predictions(own_folder(compared, model))]
        for model in (run_dir, tiny_gpt2)
    ]
    (pair,) = comparison["pairs"]
    assert pair["only_first_right"] == sum(a and not b for a, b in zip(*right, strict=True))
    assert pair["only_second_right"] == sum(b and not a for a, b in zip(*right, strict=True))
    assert comparison["rows"] == len(right[0]) == 100


def test_two_processes_find_the_same_also_from_within_the_package(
    compared: Path, run_dir: Path, tiny_gpt2: Path, tmp_path
):
    """In the package's own folder, `import evaluate` still means the library."""
    flags = ["--model_name_or_path", run_dir, tiny_gpt2, "--dataset_name", REVIEWS, "--output_dir", tmp_path / "out"]
    finished = launch(*flags, config="multi_cpu", module="evaluate", cwd=ROOT / "hf_sentiment_ft")
    assert finished.returncode == 0, finished.stderr
    both = [json.loads((folder / "comparison.json").read_text()) for folder in (compared, tmp_path / "out")]
    assert both[0]["pairs"] == both[1]["pairs"]
    for one, other in zip(*(comparison["models"] for comparison in both), strict=True):
        assert one["confusion_matrix"] == other["confusion_matrix"]
        assert one["log_loss"] == pytest.approx(other["log_loss"], abs=1e-5)
    assert finished.stdout.count("McNemar") == 1, "one process prints"


def test_a_file_alone_is_evaluated_whole_in_the_order_of_the_models_labels(run_dir: Path, tmp_path: Path):
    """Its labels come in another order, and by name."""
    rows = [(row["text"], row["label"]) for row in predictions(run_dir)][::-1]
    table = write_csv(tmp_path / "rows.csv", rows)
    call("--model_name_or_path", run_dir, "--test_file", table, "--output_dir", tmp_path / "out")
    assert [row["prediction"] for row in predictions(tmp_path / "out")] == [
        row["prediction"] for row in predictions(run_dir)
    ][::-1]
    assert figures(tmp_path / "out")["accuracy"] == figures(run_dir)["accuracy"]
    assert not (tmp_path / "out" / "comparison.json").exists(), "there is nothing to compare"


def test_validation_is_reported_where_the_test_split_has_no_labels(tiny_gpt2: Path, tmp_path: Path):
    """Whatever the order in which the splits come; the unlabelled rows are predicted."""
    rows = [(f"film {i}", ("bad", "good")[i % 2]) for i in range(40)]
    train, test = write_csv(tmp_path / "train.csv", rows), tmp_path / "test.csv"
    test.write_text("text\n" + "".join(f"unknown film {i}\n" for i in range(5)))
    flags = ["--train_file", train, "--test_file", test, "--output_dir", tmp_path / "out"]
    call("--model_name_or_path", tiny_gpt2, *flags)
    assert figures(tmp_path / "out") == {}
    assert figures(tmp_path / "out", "eval_")["per_class"].keys() == {"bad", "good"}
    assert [row["text"] for row in predictions(tmp_path / "out")] == [f"unknown film {i}" for i in range(5)]


def test_earlier_results_stay_where_the_flags_are_refused(tiny_gpt2: Path, tmp_path: Path):
    rows = write_csv(tmp_path / "rows.csv", [(f"film {i}", ("bad", "good")[i % 2]) for i in range(40)])
    flags = ["--model_name_or_path", tiny_gpt2, "--test_file", rows, "--output_dir", tmp_path / "out"]
    call(*flags)
    with pytest.raises(UsageError, match="--calibration validation needs a validation split"):
        call(*flags, "--overwrite_output_dir", "--calibration", "validation")
    assert figures(tmp_path / "out")["per_class"].keys() == {"bad", "good"}


def test_label_words_and_prompt_of_any_other_model(tiny_gpt2: Path, tmp_path: Path):
    asked = ["--prompt_template", "Review: {text}\\nMood:{label_word}", "--label_words", " bad film, good"]
    data = ["--dataset_name", REVIEWS, "--max_test_samples", 10, "--output_dir", tmp_path]
    call("--model_name_or_path", tiny_gpt2, *asked, *data)
    assert len(predictions(tmp_path)) == 10
    assert set(figures(tmp_path)["per_class"]) == {"negative", "positive"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("template", ["{text}\nSentiment:{label_word}", "Review: {text} ={label_word}"])
def test_the_prompt_is_read_back_from_its_tokenizer(kind: str, template: str):
    tokenizer = base_tokenizer(kind)
    prompt = build_prompt(tokenizer, template)
    found = read_prompt(put_prompt_into_tokenizer(tokenizer, prompt))
    assert (found.beginning_ids, found.ending_ids) == (prompt.beginning_ids, prompt.ending_ids)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--train_file", "other.csv"],
            "the data has the labels happy, sad, but RUN was trained on negative, positive",
        ),
        (["--model_name_or_path"], "--model_name_or_path is missing"),
        (["--model_name_or_path", "a", "b", "a"], "names a model twice: a, b, a"),
        (["--push_to_hub"], "--push_to_hub is given, which is for training only"),
        (["--dry_run"], "--dry_run is given, which is for training only"),
        (["--use_peft"], "--use_peft is given, which is for training only"),
        (["--model_name_or_path", "./nowhere"], "which is not a folder"),
        (["--modle", "x"], "unknown flag --modle"),
        (["--output_dir", "RUN"], "contains the model RUN"),
        (["--model_name_or_path", "gpt2", "--output_dir", "RUN"], "already contains a run"),
        (["--model_name_or_path", "RUN", "gpt2"], "that this run would replace: comparison.json. Move"),
    ],
)
def test_mistakes_give_one_line(flags: list[str], message: str, run_dir: Path, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "other.csv", [("a b", "happy"), ("c d", "sad")] * 20)
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "comparison.json").write_text("mine")
    flags = [word.replace("RUN", str(run_dir)) for word in flags]
    flags = flags if "--train_file" in flags else ["--dataset_name", str(REVIEWS), *flags]
    monkeypatch.setattr(sys, "argv", ["evaluate", "--model_name_or_path", str(run_dir), *flags])
    with pytest.raises(SystemExit) as exit_info:
        evaluate.main()
    assert exit_info.value.code == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(error) == 1
    assert message.replace("RUN", str(run_dir)) in error[0]
    assert not (run_dir / ".lock").exists(), "the folder is free again, while this process lives"


def test_help_needs_no_heavy_import():
    code = "import sys; sys.argv[1:] = ['--help']\nfrom hf_sentiment_ft import evaluate\n"
    code += "try:\n    evaluate.main()\nexcept SystemExit:\n"
    code += "    print({'torch', 'transformers', 'evaluate'} & set(sys.modules))"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "--prompt_template" in finished.stdout
    assert finished.stdout.splitlines()[-1] == "set()"


def test_one_model_at_a_time_is_held(tiny_gpt2: Path, run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each may fill the GPU."""
    alive = count_loaded(model_package, monkeypatch)
    models = ["--model_name_or_path", run_dir, tiny_gpt2]
    call(*models, "--dataset_name", REVIEWS, "--max_test_samples", 8, "--output_dir", tmp_path / "out")
    assert alive == [0, 0]


def test_rows_of_one_of_the_models_labels_are_evaluated(
    run_dir: Path, tiny_gpt2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A model of another kind has no labels but theirs, and needs two."""
    monkeypatch.chdir(tmp_path)
    path = write_csv(tmp_path / "one.csv", [(f"film {i}", "positive") for i in range(4)])
    call("--model_name_or_path", run_dir, "--test_file", path)
    found = predictions(tmp_path / "evaluation")
    assert [row["label"] for row in found] == ["positive"] * 4
    right = sum(row["prediction"] == "positive" for row in found)
    assert figures(tmp_path / "evaluation")["accuracy"] == right / 4
    with pytest.raises(
        UsageError, match="the rows have one label, 'positive', and .* was not trained with hf_sentimen"
    ):
        call("--model_name_or_path", tiny_gpt2, "--test_file", path, "--output_dir", "other")
