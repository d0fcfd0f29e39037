"""The Trainer's gradients and evaluation, and the precision in which each is computed."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from hf_sentiment_ft.errors import RunError
from hf_sentiment_ft.evaluation.predictions import compute_metrics, predict, report
from hf_sentiment_ft.label_words.verbalizer import Verbalizer

from ..tiny import base_tokenizer, reference_scores, tiny_model

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

EOS = 0
ONE_TOKEN = Verbalizer(["neg", "pos"], [" a", " b"], [[5], [6]])
MIXED = Verbalizer(["neg", "neu", "pos"], [" a", " ab", " c d e"], [[5, EOS], [5, 6, EOS], [7, 8, 9, 10]])
VERBALIZERS = [pytest.param(ONE_TOKEN, id="one token"), pytest.param(MIXED, id="mixed")]


def rows_of(verbalizer: Verbalizer, num_rows: int, training: bool, soft: bool = False) -> "Dataset":
    """Build random prompts of different lengths, in the format of `tokenize`, with soft labels if asked for."""
    from datasets import Dataset

    generator = np.random.default_rng(3)
    rows = []
    for number in range(num_rows):
        prompt = generator.integers(1, 600, generator.integers(2, 30)).tolist()
        label = number % len(verbalizer.labels)
        word = verbalizer.token_ids[label]
        ids = prompt + word[:-1] if training else prompt
        rows.append({"input_ids": ids, "labels": word if training else [label, number], "length": len(ids)})
        if soft:
            votes = generator.integers(0, 4, len(verbalizer.labels))
            votes[label] = 4
            rows[-1]["shares"] = (votes / votes.sum()).tolist()
    return Dataset.from_list(rows)


@pytest.fixture
def make_trainer(tmp_path: Path):
    def make(
        verbalizer: Verbalizer = MIXED,
        precision: str = "fp32",
        num_rows: int = 12,
        class_weights: list[float] | None = None,
        max_tokens: int = 0,
        soft: bool = False,
        **given: Any,
    ):
        from transformers import TrainingArguments

        from hf_sentiment_ft.training.trainer import LabelWordTrainer

        defaults = {"optim": "sgd", "learning_rate": 0.1, "lr_scheduler_type": "constant", "max_steps": 1}
        defaults |= {"report_to": "none", "save_strategy": "no", "max_grad_norm": 0, "disable_tqdm": True}
        return LabelWordTrainer(
            verbalizer=verbalizer,
            precision=precision,
            class_weights=class_weights,
            max_tokens=max_tokens,
            model=tiny_model(),
            args=TrainingArguments(**{"output_dir": str(tmp_path / "out")} | defaults | given),
            train_dataset=rows_of(verbalizer, num_rows, True, soft),
            eval_dataset=rows_of(verbalizer, num_rows, False, soft),
            processing_class=base_tokenizer("gpt2"),
            compute_metrics=partial(compute_metrics, verbalizer=verbalizer, constrained=False),
        )

    return make


def reference_loss(
    model: "PreTrainedModel", rows: "Dataset", verbalizer: Verbalizer, smoothing: float = 0.0
) -> torch.Tensor:
    """Compute the mean loss over all label tokens from the full logits, one row at a time, without padding.

    The target of a token is a distribution over whole words, given the tokens before it. Rows may have soft labels.
    """
    words = verbalizer.token_ids
    losses = []
    for row in rows:
        logits = model(torch.tensor([row["input_ids"]])).logits[0, -len(row["labels"]) :]
        shares = row.get("shares") or [float(word == row["labels"]) for word in words]
        for position, at_position in enumerate(logits):
            target = torch.zeros(at_position.shape)
            for word, share in zip(words, shares, strict=True):
                if word[:position] == row["labels"][:position]:
                    target[word[position]] += smoothing / len(words) + (1 - smoothing) * share
            losses.append(cross_entropy(at_position, target / target.sum()))
    return torch.stack(losses).mean()


def reference_step(rows: "Dataset", verbalizer: Verbalizer, learning_rate: float = 0.1) -> dict[str, torch.Tensor]:
    """Return the weights after one plain gradient step."""
    model = tiny_model()
    reference_loss(model, rows, verbalizer).backward()
    return {name: (value - learning_rate * value.grad).detach() for name, value in model.named_parameters()}


@pytest.mark.parametrize("verbalizer", VERBALIZERS)
@pytest.mark.parametrize(
    ("batch", "accumulation", "max_tokens"), [(12, 1, 0), (4, 3, 0), (1, 12, 0), (12, 1, 70), (4, 3, 40)]
)
def test_accumulated_steps_are_one_big_batch(
    verbalizer: Verbalizer, batch: int, accumulation: int, max_tokens: int, make_trainer
):
    """The weights and the loss of one step are the same, with words of different lengths in the parts of the batch."""
    sizes = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation}
    trainer = make_trainer(verbalizer, max_tokens=max_tokens, **sizes)
    expected_loss = reference_loss(tiny_model(), trainer.train_dataset, verbalizer).item()
    assert trainer.train().training_loss == pytest.approx(expected_loss, rel=1e-5)
    expected = reference_step(trainer.train_dataset, verbalizer)
    for name, value in trainer.model.named_parameters():
        torch.testing.assert_close(value.detach(), expected[name], rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:`gradient_checkpointing` is deprecated")
def test_gradient_checkpointing_changes_nothing(make_trainer):
    trainer = make_trainer(per_device_train_batch_size=12, gradient_checkpointing=True)
    trainer.train()
    expected = reference_step(trainer.train_dataset, MIXED)
    for name, value in trainer.model.named_parameters():
        torch.testing.assert_close(value.detach(), expected[name], rtol=1e-4, atol=1e-5)


def test_training_learns_the_label_words(make_trainer):
    trainer = make_trainer(max_steps=60, optim="adamw_torch", learning_rate=1e-2, per_device_train_batch_size=12)
    before = trainer.evaluate()
    trainer.train()
    after = trainer.evaluate()
    assert before["eval_accuracy"] < 0.9
    assert after["eval_accuracy"] == 1.0
    assert after["eval_generation_accuracy"] == 1.0
    assert after["eval_loss"] < before["eval_loss"] / 4


def test_collator_pads_on_the_left(make_trainer):
    collator = make_trainer().data_collator
    batch = collator([{"input_ids": [3, 4, 5], "labels": [7, 8]}, {"input_ids": [6], "labels": [9]}])
    assert batch["input_ids"].tolist() == [[3, 4, 5], [600, 600, 6]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [0, 0, 1]]
    assert batch["position_ids"].tolist() == [[0, 1, 2], [0, 0, 0]]
    assert batch["labels"].tolist() == [[7, 8], [-100, 9]]
    assert batch["logits_to_keep"] == 2


@pytest.mark.parametrize("strategy", ["random", "group_by_length"])
@pytest.mark.parametrize("verbalizer", VERBALIZERS)
def test_evaluation_goes_by_length_and_row_numbers_lead_back(verbalizer: Verbalizer, strategy: str, make_trainer):
    """The longest rows come first, and every row appears once, with its own number."""
    trainer = make_trainer(verbalizer, num_rows=23, per_device_eval_batch_size=4, train_sampling_strategy=strategy)
    prediction = trainer.predict(trainer.eval_dataset)
    (scores, generated, _), ids = prediction.predictions, prediction.label_ids
    assert sorted(ids[:, 1]) == list(range(23))
    order = np.argsort(ids[:, 1])
    lengths = np.array([row["length"] for row in trainer.eval_dataset])
    assert lengths[ids[:, 1]].tolist() == sorted(lengths, reverse=True)
    assert ids[order, 0].tolist() == [row["labels"][0] for row in trainer.eval_dataset]
    expected = reference_scores(trainer.model, trainer.eval_dataset["input_ids"][:], verbalizer.token_ids)
    np.testing.assert_allclose(scores[order], expected, rtol=1e-4, atol=1e-4)
    assert scores.shape == (23, len(verbalizer.labels))
    assert generated.shape == (23, verbalizer.max_tokens)
    first = [trainer.model(torch.tensor([row["input_ids"]])).logits[0, -1].argmax() for row in trainer.eval_dataset]
    assert generated[order, 0].tolist() == first


@pytest.mark.parametrize("loss_only", [False, True])
@pytest.mark.parametrize("verbalizer", VERBALIZERS)
def test_evaluation_loss_is_that_of_training(verbalizer: Verbalizer, loss_only: bool, make_trainer):
    trainer = make_trainer(verbalizer, per_device_eval_batch_size=12, prediction_loss_only=loss_only)
    expected = reference_loss(tiny_model(), trainer.train_dataset, verbalizer).item()
    assert trainer.evaluate()["eval_loss"] == pytest.approx(expected, rel=1e-5)


def test_label_words_are_scored_even_if_only_the_loss_is_asked_for(make_trainer):
    """The scores take little memory, and all results of a run come from them."""
    trainer = make_trainer(prediction_loss_only=True)
    assert trainer.evaluate()["eval_accuracy"] == make_trainer().evaluate()["eval_accuracy"]
    assert predict(trainer, trainer.eval_dataset).scores.shape == (12, 3)


def test_evaluation_loss_does_not_depend_on_the_batch_size(make_trainer):
    losses = {make_trainer(per_device_eval_batch_size=size).evaluate()["eval_loss"] for size in (1, 5, 12)}
    assert max(losses) == pytest.approx(min(losses), rel=1e-5)


def test_evaluation_reports_numbers_only(make_trainer):
    trainer = make_trainer()
    metrics = trainer.evaluate()
    assert metrics.keys() >= {
        "eval_loss",
        "eval_accuracy",
        "eval_f1_macro",
        "eval_generation_accuracy",
        "eval_log_loss",
    }
    assert all(isinstance(value, int | float) for value in metrics.values())
    found = report(predict(trainer, trainer.eval_dataset), trainer.verbalizer)
    assert set(found["per_class"]) == set(MIXED.labels)
    assert found["accuracy"] == metrics["eval_accuracy"]
    assert np.sum(found["confusion_matrix"]) == 12


def dtypes_seen(trainer: Any) -> dict[bool, set[torch.dtype]]:
    """Train and predict, and return the data types of the logits during training (True) and evaluation (False)."""
    seen: dict[bool, set[torch.dtype]] = {True: set(), False: set()}
    trainer.model.lm_head.register_forward_hook(lambda module, inputs, output: seen[module.training].add(output.dtype))
    trainer.train()
    trainer.predict(trainer.eval_dataset)
    return seen


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_precision_is_that_of_training_alone(precision: str, dtype: torch.dtype, make_trainer):
    """This also holds for training steps after an evaluation."""
    trainer = make_trainer(precision=precision, max_steps=2, eval_strategy="steps", eval_steps=1)
    assert dtypes_seen(trainer) == {True: {dtype}, False: {torch.float32}}
    assert {weight.dtype for weight in trainer.model.parameters()} == {torch.float32}


@pytest.mark.parametrize("flags", [["--bf16", "true"], ["--precision", "bf16"]])
def test_trainers_own_bf16_flag_does_not_reach_evaluation(flags: list[str], make_trainer, tmp_path: Path):
    from hf_sentiment_ft.config.command_line import parse_train_arguments

    model_args, *_, args = parse_train_arguments(
        [*flags, "--max_steps", "2", "--use_cpu", "--output_dir", str(tmp_path)]
    )
    given = {"bf16": args.bf16, "use_cpu": True, "max_steps": 2}
    trainer = make_trainer(precision=model_args.precision, **given)
    trainer.args.mixed_precision = args.mixed_precision
    assert dtypes_seen(trainer) == {True: {torch.bfloat16}, False: {torch.float32}}


def test_an_overflow_of_scaled_gradients_ends_nothing(make_trainer):
    """With --fp16, such a step is skipped and the scale is lowered; only a NaN loss ends the run."""
    trainer = make_trainer()
    with pytest.raises(RunError, match="grad_norm is inf"):
        trainer.log({"loss": 0.7, "grad_norm": float("inf")})
    trainer.args.fp16 = True
    trainer.log({"loss": 0.7, "grad_norm": float("inf")})
    with pytest.raises(RunError, match="loss is nan"):
        trainer.log({"loss": float("nan"), "grad_norm": 0.1})


def test_processes_that_would_train_alone_do_not_begin(make_trainer, monkeypatch: pytest.MonkeyPatch):
    trainer = make_trainer()
    batch = next(iter(trainer.get_train_dataloader()))
    monkeypatch.setattr(type(trainer.args), "world_size", 2)
    with pytest.raises(RunError, match="2 processes were started, but each would train its own copy of the model"):
        trainer.training_step(trainer.model, batch)
