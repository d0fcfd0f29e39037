"""Every architecture, and every kind of tokenizer, from training to `pipeline`, and as `predict` answers."""

import csv
from pathlib import Path

import pytest
import torch

from hf_sentiment_ft.config.arguments import ModelArguments
from hf_sentiment_ft.config.command_line import parse_train_arguments
from hf_sentiment_ft.errors import UsageError
from hf_sentiment_ft.label_words.model import LabelWordModel, load_label_word_model, predict_probabilities
from hf_sentiment_ft.model.inputs import left_pad
from hf_sentiment_ft.model.loading import find_base_model, load_config, load_model, load_tokenizer
from hf_sentiment_ft.train import run

from .architectures import ARCHITECTURES, save_tiny, tiny_config
from .tiny import BUILDERS, reference_scores, write_csv

POSITIVE = (
    "great film",
    "a moving evening",
    "x </s> good <|endoftext|> <pad>",
    "  two  spaces, café 🎬",
    "fine and good",
)
NEGATIVE = ("bad film", "a slow and rather pointless evening", "x", "nobody could possibly like it [PAD]", "not good")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    rows = [(text, label) for label, texts in (("pos", POSITIVE), ("neg", NEGATIVE)) for text in texts]
    return write_csv(tmp_path_factory.mktemp("table") / "train.csv", rows)


def train(base: Path, table: str, output: Path, *flags: object) -> tuple[LabelWordModel, list[dict[str, str]]]:
    """Run the command in this process; return what it saved, and its predictions for the test rows."""
    given = ["--model_name_or_path", base, "--output_dir", output, "--max_steps", 16, "--learning_rate", 0.03]
    given += ["--train_file", table, "--validation_file", table, "--test_file", table, "--eval_strategy", "no"]
    given += ["--save_strategy", "no", "--load_best_model_at_end", False, "--disable_tqdm", True]
    given += ["--zero_shot_baseline", False, "--per_device_eval_batch_size", 4, *flags]
    torch.set_num_threads(1)
    run(parse_train_arguments([str(word) for word in given]))
    with (output / "test_predictions.csv").open(newline="", encoding="utf-8") as file:
        return load_label_word_model(str(output)), list(csv.DictReader(file))


def check_answers(saved: LabelWordModel, rows: list[dict[str, str]], output: Path) -> None:
    """`pipeline`, `predict` in batches and row by row, and evaluation say the same."""
    from transformers import pipeline

    texts = [row["text"] for row in rows]
    together = predict_probabilities(saved, texts, batch_size=4)
    alone = predict_probabilities(saved, texts, batch_size=1)
    torch.testing.assert_close(torch.tensor(together), torch.tensor(alone), rtol=1e-3, atol=1e-4)
    prompts = saved.tokenizer(texts).input_ids
    expected = reference_scores(saved.model, prompts, saved.verbalizer.token_ids).softmax(-1)
    torch.testing.assert_close(torch.tensor(together).float(), expected, rtol=1e-3, atol=1e-4)
    labels = [saved.verbalizer.labels[best] for best in together.argmax(1)]
    assert labels == [row["prediction"] for row in rows]
    classify = pipeline("text-generation", model=str(output))
    said = [classify(text, return_full_text=False)[0]["generated_text"] for text in texts]
    for word, row in zip(said, rows, strict=True):
        generated = row["generated_text"].strip()  # followed up as far as it begins a label word
        whole = generated in [label_word.strip() for label_word in saved.verbalizer.words]
        assert word.strip() == generated if whole else word.strip().startswith(generated)


@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_trained_model_answers_alike_everywhere(model_type: str, table: str, tmp_path: Path):
    from transformers import AutoTokenizer

    base, output = save_tiny(model_type, tmp_path / "base"), tmp_path / "output"
    saved, rows = train(base, table, output, "--label_words", " negative, positive")
    check_answers(saved, rows, output)
    assert sum(row["generated_text"].strip() in ("negative", "positive") for row in rows) >= 5, "it has learnt to"
    base_tokenizer = AutoTokenizer.from_pretrained(base)
    begins = base_tokenizer("x").input_ids[0] == base_tokenizer.bos_token_id
    assert (saved.tokenizer("x").input_ids[0] == saved.tokenizer.bos_token_id) == begins, (
        "as the base model reads texts"
    )


@pytest.mark.parametrize("words", [" negative, positive", "sad,joy"])
@pytest.mark.parametrize(("model_type", "kind"), [("gpt2", "no_eos"), ("llama", "unigram_no_eos")])
def test_tokenizer_without_an_end_of_text_token(model_type: str, kind: str, words: str, table: str, tmp_path: Path):
    """The number of tokens ends what is generated, so label words must have the same; the second kind has padding."""
    base, output = save_tiny(model_type, tmp_path / "base", kind), tmp_path / "output"
    if (kind, words) == ("unigram_no_eos", " negative, positive"):
        with pytest.raises(UsageError, match="no end-of-text token to end the shorter ones"):
            train(base, table, output, "--label_words", words)
        return
    saved, rows = train(base, table, output, "--label_words", words)
    check_answers(saved, rows, output)
    assert len(saved.verbalizer.token_ids[0]) == (1 if words == " negative, positive" else 3)
    assert saved.model.generation_config.eos_token_id is saved.tokenizer.eos_token is None
    assert saved.tokenizer.pad_token == ("[PAD]" if kind == "no_eos" else "<pad>")
    assert saved.tokenizer.pad_token_id == saved.model.config.pad_token_id


def test_half_of_an_encoder_decoder_is_refused(tmp_path: Path):
    tiny_config("bart").save_pretrained(tmp_path)
    with pytest.raises(UsageError, match="bart model, which is not a causal language model"):
        load_config(find_base_model(ModelArguments(str(tmp_path))))


def test_model_that_reads_what_comes_next_is_refused(tmp_path: Path):
    from transformers import AutoModelForCausalLM

    AutoModelForCausalLM.from_config(tiny_config("xlnet", vocab_size=601)).save_pretrained(tmp_path)
    BUILDERS["gpt2"]().save_pretrained(tmp_path)
    base = find_base_model(ModelArguments(str(tmp_path)))
    tokenizer = load_tokenizer(base)
    with pytest.raises(UsageError, match="xlnet model is not a causal language model"):
        load_model(base, "float32", tokenizer)


def test_weights_in_bfloat16_and_in_shards(table: str, tmp_path: Path):
    """Trained in float32, as by default, and in the data type of the weights."""
    from transformers import AutoModelForCausalLM

    base = save_tiny("llama", tmp_path / "base")
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    (base / "model.safetensors").unlink()
    model.save_pretrained(base, max_shard_size="50KB")
    assert len(list(base.glob("*.safetensors"))) > 1
    saved, rows = train(base, table, tmp_path / "output")
    assert saved.model.dtype == torch.float32
    check_answers(saved, rows, tmp_path / "output")


def test_padding_is_kept_from_a_model_that_reads_it(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    base = find_base_model(ModelArguments(str(save_tiny("rwkv", tmp_path))))
    tokenizer = load_tokenizer(base)
    model = load_model(base, "float32", tokenizer)
    assert "output of rwkv models depends on left padding" in caplog.text
    prompts = [[5, 6, 7, 8, 9], [10, 11], [12]]
    inputs, mask = left_pad(prompts, tokenizer.pad_token_id), left_pad([[1] * len(row) for row in prompts], 0)
    together = model(input_ids=inputs, attention_mask=mask, logits_to_keep=1).logits[:, -1]
    alone = torch.stack([model(torch.tensor([row])).logits[0, -1] for row in prompts])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_weights_are_saved_as_they_are_after_an_evaluation(tmp_path: Path):
    """RWKV would scale those from the seventh layer on while it answers."""
    from transformers import AutoModelForCausalLM

    base = find_base_model(ModelArguments(str(save_tiny("rwkv", tmp_path / "base"))))
    model = load_model(base, "float32", load_tokenizer(base)).eval()
    text = torch.tensor([[5, 6, 7]])
    before = model(text).logits
    model.save_pretrained(tmp_path / "saved")
    after = AutoModelForCausalLM.from_pretrained(tmp_path / "saved").eval()(text).logits
    torch.testing.assert_close(after, before)
    torch.testing.assert_close(
        AutoModelForCausalLM.from_pretrained(base.path).eval()(text).logits[..., :5], before[..., :5]
    )


@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_every_weight_takes_part_in_a_step(model_type: str, tmp_path: Path):
    """DistributedDataParallel need not look for those that do not, which takes a walk through the graph."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(save_tiny(model_type, tmp_path)).train()
    model(torch.randint(5, 100, (2, 12))).logits[:, -1].logsumexp(-1).sum().backward()
    assert not [name for name, weight in model.named_parameters() if weight.grad is None]
