"""Every sentence of the card follows from what happened in the run."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import ModelCard

from hf_sentiment_ft.publishing import card as card_module
from hf_sentiment_ft.publishing.card import hardware, render_card
from hf_sentiment_ft.publishing.examples import sample_answers, short_examples
from hf_sentiment_ft.publishing.metadata import card_metadata, is_sentiment
from hf_sentiment_ft.publishing.provenance import Provenance

from .. import forked
from ..conftest import REVIEWS
from ..tiny import write_csv


def values_of(run: Path) -> dict[str, Any]:
    return json.loads((run / "card.json").read_text(encoding="utf-8"))


def card_of(run: Path, **changed: Any) -> str:
    """The card of a run in which some things were otherwise, on one line."""
    return " ".join(str(render_card(values_of(run) | changed, "user/name")).split())


def train(folder: Path, *flags: object) -> str:
    """Run the command, and return its card on one line."""
    forked.finish("--disable_tqdm", "true", *flags, cwd=folder)
    return " ".join((folder / "output" / "README.md").read_text(encoding="utf-8").split())


def test_a_run_that_chose_the_best_of_its_checkpoints(run_dir: Path):
    card = card_of(run_dir)
    step, steps = values_of(run_dir)["kept"]["step"], values_of(run_dir)["steps"]
    kept = "The model was evaluated 2 times during training, and the checkpoint with the best validation accuracy was "
    kept += f"kept (step {step})."
    assert f"{kept} | | | |---|---| | steps | {steps} |" in card
    assert (
        "It was not used to choose the checkpoint. This model was evaluated on it once, after training, and the" in card
    )
    assert "base model once, before training." in card
    assert "![Training loss over steps]" not in card
    assert "Training took" in card


def test_a_run_without_evaluation_and_test_that_ends_early(tiny_gpt2: Path, tmp_path: Path):
    """Nothing was evaluated, chosen or compared during training, and most rows were never seen."""
    flags = ["--eval_strategy", "no", "--save_strategy", "no", "--load_best_model_at_end", "false", "--max_steps", 2]
    flags += ["--train_file", REVIEWS / "train.csv", "--test_split_percentage", 0, "--logging_steps", 1]
    card = train(tmp_path, "--model_name_or_path", tiny_gpt2, *flags)
    assert "best validation" not in card
    assert "on which the checkpoint was chosen" not in card
    assert "The weights after the last step were kept. | | | |---|---| | steps | 2 |" in card
    assert "| max_steps | 2 |" in card
    assert "num_train_epochs" not in card, "which was not what ended the run"
    assert "These results are for the validation split." in card
    assert "The 95 % confidence interval of the accuracy" in card, "which the limitations speak of"
    assert "Training loss. Training took" in card
    assert "![Training loss over steps](plots/training.png)" in card
    assert "Validation texts are only truncated" in card
    rows = values_of(tmp_path / "output")["train_rows"]
    assert f"from 32 of the {rows} training texts, since training ended before all were used" in card
    assert "The text is from the validation split" in card


def test_a_stream_that_was_read_more_than_once(tiny_gpt2: Path, tmp_path: Path):
    """Its rows are counted once where the card says from how many texts the model has learned."""
    table = write_csv(tmp_path / "a.csv", [(f"{label} {number}", label) for number in range(20) for label in "ab"])
    flags = ["--train_file", table, "--test_file", table, "--streaming", "--max_eval_samples", 8, "--max_steps", 4]
    card = train(tmp_path, "--model_name_or_path", tiny_gpt2, *flags)
    assert "| train | 64 |" in card
    assert "the stream has 32, so each was used 2.0 times" in card
    assert "what each label means from 32 training texts" in card


def test_an_evaluation_that_never_came_and_a_run_that_was_resumed(tiny_gpt2: Path, tmp_path: Path):
    flags = ["--model_name_or_path", tiny_gpt2, "--dataset_name", REVIEWS, "--zero_shot_baseline", "false"]
    flags += ["--max_train_samples", 32, "--max_eval_samples", 16, "--max_test_samples", 16, "--use_peft"]
    flags += ["--eval_delay", 9, "--num_train_epochs", 2]
    card = train(tmp_path, *flags)
    assert "best validation" not in card
    assert "The weights after the last step were kept. | | | |---|---| | steps | 4 |" in card
    assert "This model was evaluated on it once, after training. |" in card
    assert "zero-shot" not in card
    assert "plots/training.png" not in card, "nothing was logged"
    assert "A LoRA adapter was trained and merged into the weights." in card
    assert " peft " in card
    shutil.rmtree(tmp_path / "output" / "checkpoint-4")  # as if it had been killed at the third step
    card = train(tmp_path, *flags, "--resume_from_checkpoint", "true")
    assert "Training was resumed at step 2. The steps after it took" in card
    card = train(tmp_path, *flags, "--resume_from_checkpoint", "true")
    assert "Training had already ended when the run was resumed" in card
    assert "Training took" not in card


def test_evaluations_are_not_called_checkpoints(tiny_gpt2: Path, tmp_path: Path):
    """Where it is evaluated more often than it is saved."""
    flags = ["--dataset_name", REVIEWS, "--max_train_samples", 64, "--max_eval_samples", 32, "--max_test_samples", 16]
    flags += ["--max_steps", 4, "--eval_steps", 1, "--save_steps", 4, "--metric_for_best_model", "loss"]
    card = train(tmp_path, "--model_name_or_path", tiny_gpt2, "--learning_rate", 1e-3, *flags)
    assert "evaluated 4 times during training, and the checkpoint with the best validation loss was kept" in card
    assert "checkpoints" not in card


def test_a_checkpoint_that_was_the_best_only_when_it_was_saved(run_dir: Path):
    """Where not every evaluated step is saved."""
    kept = {"step": 4, "of": 3, "best": False, "metric": "f1 macro"}
    assert "The checkpoint of step 4 was kept, which had the best validation f1 macro when it was saved." in card_of(
        run_dir, kept=kept
    )
    only = kept | {"of": 1, "best": True}
    assert "The checkpoint of step 4 was kept, the only one that was evaluated." in card_of(run_dir, kept=only)


@pytest.mark.parametrize(
    ("folder", "best", "expected"),
    [
        ("out/checkpoint-4", 4, {"step": 4, "of": 2, "best": True, "metric": "f1 macro"}),
        ("out/checkpoint-4", 6, {"step": 4, "of": 2, "best": False, "metric": "f1 macro"}),
        ("downloads/last-checkpoint", 4, {"step": 4, "of": 2, "best": True, "metric": "f1 macro"}),
        (None, 6, None),
    ],
)
def test_the_checkpoint_that_was_kept(folder: str | None, best: int, expected: dict[str, Any] | None):
    history = [{"step": step, "eval_f1_macro": 0.5} for step in (0, 4, 6)]
    state = SimpleNamespace(log_history=history, best_model_checkpoint=folder, best_global_step=best)
    state.epoch, state.global_step = 1.0, 6
    args = SimpleNamespace(metric_for_best_model="eval_f1_macro", load_best_model_at_end=True)
    trainer = SimpleNamespace(args=args, state=state, callback_handler=SimpleNamespace(callbacks=[]), train_dataset=[])
    assert card_module._what_training_did(trainer)["kept"] == expected


def test_a_plot_shows_what_was_logged(run_dir: Path):
    card = card_of(run_dir, logged=["eval_accuracy"])
    assert "![Validation accuracy over steps](plots/training.png) Accuracy on the validation split at each" in card
    assert "![Training loss and validation accuracy over steps](plots/training.png)" in card_of(run_dir)


def test_doubt_is_described_as_it_was_measured(run_dir: Path):
    test = values_of(run_dir)["test"]
    reached = {"0.05": {"threshold": 0.91, "decided": 0.5, "error": 0.02}}
    card = card_of(run_dir, test=test | {"target_errors": reached})
    assert "--target_error 0.05` leaves texts undecided" in card
    assert "| 0.05 | 0.9100 | 50.0 % | 0.0200 |" in card
    assert "The checkpoint was chosen on the same rows, which makes them a little too optimistic." in card
    assert "Smaller errors could not be shown on these rows." in card
    assert "Smaller errors" not in card_of(run_dir, test=test | {"target_errors": {"0.01": reached["0.05"]}})
    assert "`predict --target_error` does not work with this model" in card_of(
        run_dir, test=test | {"target_errors": {}}
    )
    earlier = {name: value for name, value in test.items() if name not in ("target_errors", "temperature")}
    assert "When in doubt" not in card_of(run_dir, test=earlier)
    assert "temperature" not in card_of(run_dir, test=earlier, kept=None)


def test_figures_of_the_rows_that_the_temperature_was_fitted_on(run_dir: Path):
    """Where there is no test split."""
    card = card_of(run_dir, test=None, zero_shot=None, reported_split="validation")
    assert "| the same, before temperature scaling |" in card
    assert "which was fitted on this split, so that these figures are somewhat too good" in card


def test_words_that_nothing_constrains_are_not_promised(run_dir: Path):
    assert "It assigns one of them to any text" in card_of(run_dir)
    assert "It assigns one of them" not in card_of(run_dir, constrained=False)


def test_many_label_words_are_counted_and_not_listed(run_dir: Path):
    card = card_of(run_dir, words=[f" w{number}" for number in range(30)])
    assert "generates one of 30 label words." in card


def test_an_adapter_needs_more_setup(run_dir: Path):
    assert "No other setup is needed." in card_of(run_dir)
    card = card_of(run_dir, is_adapter=True, uses_lora=True)
    assert "No other setup is needed." not in card
    assert "merged into the weights" not in card


def test_a_model_without_a_limit_states_none(run_dir: Path):
    assert "tokens. For longer texts, pass `truncation=True`" in card_of(run_dir)
    assert "can have up to" not in card_of(run_dir, max_prompt_tokens=2**20 - 1)


def test_files_of_other_splits_are_named(run_dir: Path):
    card = card_of(run_dir, dataset_text="`a.csv`", other_files={"test": "b.csv"})
    assert "The training texts come from `a.csv`. The test texts come from `b.csv`." in card


def test_the_card_of_an_earlier_version_can_be_published(run_dir: Path):
    """Its values lack what is new."""
    new = (
        "examples",
        "other_files",
        "license_text",
        "uses_lora",
        "steps",
        "resumed_from",
        "rows_seen",
        "logged",
        "kept",
    )
    values = {name: value for name, value in values_of(run_dir).items() if name not in new}
    card = str(render_card(values | {"license": "mit"}, "user/name"))
    assert "mit, as stated by the base model" in card
    assert "Training took" in card


def test_hardware_is_what_the_run_used(monkeypatch: pytest.MonkeyPatch):
    """A machine with GPUs may train on its CPU, and each process has a GPU of its own."""
    monkeypatch.setattr(card_module.os, "cpu_count", lambda: 8)
    cpu = SimpleNamespace(device=SimpleNamespace(type="cpu"), world_size=2, n_gpu=0)
    assert hardware(cpu).startswith("8 CPU cores (")
    other = SimpleNamespace(device=SimpleNamespace(type="xpu"), world_size=2, n_gpu=1)
    assert hardware(other) == "2 × xpu"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["neg", "pos", " negative", " positive"], True),
        (["0", "1", " negative", " positive"], True),
        (["very negative", "negative", "neutral", "positive"], True),
        (["Négatif", "Positif"], True),
        (["billing", "shipping"], False),
        (["1", "2", "3", "4", "5"], False),
        (["positive", "neutral"], False),
        (["Position", "Negation"], False),
        ([], False),
    ],
)
def test_sentiment_is_claimed_where_the_labels_say_so(names: list[str], expected: bool):
    provenance = Provenance(None, "", None, None, None, None, None, "a.csv", "a.csv", "", None, None, [], {})
    figures = dict.fromkeys(("accuracy", "generation_accuracy", "f1_macro"), 0.5)
    tags = card_metadata(provenance, figures, "test", None, names)["tags"]
    assert is_sentiment(names) is ("sentiment-analysis" in tags) is expected
    assert "text-classification" in tags


def test_the_page_shows_texts_of_the_test_split_with_the_answers_of_the_model(run_dir: Path):
    """As the Hub's widget takes them where no provider serves the model."""
    given = sample_answers(run_dir, 10_000)
    card = ModelCard.load(run_dir / "README.md")
    assert len(card.data.widget) == 2, "one for each label"
    for example in card.data.widget:
        assert example["output"] == {"text": given[example["text"]]}
        assert len(example["text"]) <= 200
    first = card.data.widget[0]
    assert f"print(classify({json.dumps(first['text'], ensure_ascii=False)}, return" in card.text
    assert f'# "{first["output"]["text"]}"\n```' in card.text
    assert "sentiment-analysis" in card.data.tags
    assert "a moving, funny film" not in card.text


def test_a_ticket_classifier_is_no_sentiment_model(tiny_gpt2: Path, tmp_path: Path):
    rows = [(f"{text} {number}", text) for number in range(20) for text in ("billing", "shipping")]
    table = write_csv(tmp_path / "tickets.csv", rows)
    card = train(tmp_path, "--model_name_or_path", tiny_gpt2, "--train_file", table)
    assert "sentiment-analysis" not in card
    assert "film" not in card
    assert {example["text"].split()[0] for example in values_of(tmp_path / "output")["metadata"]["widget"]} == {
        "billing",
        "shipping",
    }


def test_examples_are_short_and_plain_where_there_are_such(tmp_path: Path):
    path = tmp_path / "test_predictions.csv"
    rows = [("x" * 201, "a", " a"), ("<br />", "a", " b"), ("plain", "a", " a"), ("\u202ereversed", "b", " b")]
    rows += [("", "b", " b"), ("`only`\nthis", "b", " a"), ("never", "c", " \u202ec"), ("last", "d", " d")]
    header = ("text", "label", "prediction", "generated_text")
    write_csv(path, [(text, label, label, word) for text, label, word in rows], header)
    assert short_examples(path) == [
        {"text": "plain", "output": " a"},
        {"text": "last", "output": " d"},
        {"text": "`only`\nthis", "output": " a"},
    ]
    assert short_examples(tmp_path / "eval_predictions.csv") == []


def test_a_text_of_many_characters_can_be_read_back(tmp_path: Path):
    long = "x" * 200_000
    write_csv(tmp_path / "test_predictions.csv", [(long, " a")], ("text", "generated_text"))
    assert sample_answers(tmp_path) == {long: " a"}


def test_without_short_texts_the_card_shows_no_answer(run_dir: Path):
    card = card_of(run_dir, examples=[])
    assert 'print(classify("your text", return_full_text=False)[0]["generated_text"]) ```' in card
    assert "the answer is the one" not in card
