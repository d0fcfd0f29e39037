"""LoRA: merged into what is published, or published as an adapter."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import HfApi, ModelCard

from hf_sentiment_ft import evaluate
from hf_sentiment_ft.config.arguments import ModelArguments
from hf_sentiment_ft.config.command_line import parse_train_arguments
from hf_sentiment_ft.errors import UsageError
from hf_sentiment_ft.label_words.model import load_label_word_model, predict_probabilities
from hf_sentiment_ft.model.loading import find_base_model, find_model_to_train, load_config, load_model, load_tokenizer
from hf_sentiment_ft.model.lora import add_adapter, check_lora

from ..architectures import ARCHITECTURES, save_tiny, tiny_config
from ..local_hub import REPO, api_fixture, files_of, hub_fixture, quick_look_fixture, record  # noqa: F401
from ..test_architectures import check_answers, table, train  # noqa: F401


def parse(*flags: str) -> tuple[Any, ...]:
    return parse_train_arguments(list(flags))


@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_merged_model_answers_as_evaluated(model_type: str, table: str, tmp_path: Path):  # noqa: F811
    base, output = save_tiny(model_type, tmp_path / "base"), tmp_path / "output"
    saved, rows = train(
        base, table, output, "--use_peft", "--label_words", " not good, not bad at all", "--lora_dropout", 0
    )
    check_answers(saved, rows, output)
    names = {path.name for path in output.iterdir()}
    assert "model.safetensors" in names
    assert not {"adapter_config.json", "adapter_model.safetensors"} & names
    # Merged: the linear layers have changed, the embeddings have not, and no LoRA matrix is left.
    before = load_model(find := find_base_model(ModelArguments(str(base))), "float32", load_tokenizer(find))
    old, new = before.state_dict(), saved.model.state_dict()
    assert set(old) == set(new)
    rows_of_base = load_config(find).vocab_size
    for name, weight in saved.model.named_parameters():
        if weight is saved.model.get_input_embeddings().weight:
            torch.testing.assert_close(weight[:rows_of_base], old[name][:rows_of_base])
    assert any(not torch.equal(old[name], new[name]) for name in new if new[name].shape == old[name].shape)


def test_only_the_adapter_is_trained():
    from ..tiny import tiny_model

    adapted = add_adapter(tiny_model("llama"), ModelArguments(use_peft=True, lora_r=4))
    names = [name for name, weight in adapted.named_parameters() if weight.requires_grad]
    assert names
    assert all("lora_" in name for name in names)
    assert {name.split(".")[-4] for name in names} == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    }  # fmt: skip
    assert adapted.peft_config["default"].r == 4
    some = ModelArguments(use_peft=True, lora_target_modules=["q_proj", "v_proj"])
    names = [name for name, weight in add_adapter(tiny_model("llama"), some).named_parameters() if weight.requires_grad]
    assert {name.split(".")[-4] for name in names} == {"q_proj", "v_proj"}
    with pytest.raises(UsageError, match="--lora_target_modules is nowhere"):
        add_adapter(tiny_model("llama"), ModelArguments(use_peft=True, lora_target_modules=["nowhere"]))


def test_learning_rate_of_lora_is_higher_unless_one_is_given():
    assert parse()[-1].learning_rate == 5e-5
    assert parse("--use_peft")[-1].learning_rate == 2e-4
    assert parse("--use_peft", "--learning_rate", "1e-3")[-1].learning_rate == 1e-3


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"load_in_4bit": True}, "--load_in_4bit requires --use_peft"),
        ({"publish_adapter": True}, "--publish_adapter requires --use_peft"),
        ({"lora_r": 0}, "--lora_r is 0; expected at least 1"),
        ({"lora_dropout": 1.0}, "--lora_dropout is 1.0"),
        ({"lora_r": 8}, "--lora_r requires --use_peft"),
        ({"lora_alpha": 8}, "--lora_alpha requires --use_peft"),
        ({"lora_dropout": 0.0}, "--lora_dropout requires --use_peft"),
        ({"lora_target_modules": ["q_proj"]}, "--lora_target_modules requires --use_peft"),
    ],
)
def test_flags_that_do_not_go_together(flags: dict[str, Any], message: str):
    with pytest.raises(UsageError, match=message):
        ModelArguments(**flags)


@pytest.mark.parametrize(
    ("flags", "path", "message"),
    [
        (["--publish_adapter"], "tests", "is not on the Hub"),
        (["--publish_adapter", "--model_revision", "v1"], "user/base", "--model_revision are both given"),
        (["--push_to_hub", "--hub_strategy", "every_save"], "user/base", "--hub_strategy is"),
    ],
)
def test_what_cannot_be_published_is_refused_before_training(flags: list[str], path: str, message: str):
    model_args, *_, args = parse("--use_peft", *flags)
    with pytest.raises(UsageError, match=message):
        check_lora(model_args, path, tiny_config("gpt2"), args)


@pytest.mark.parametrize(("name", "flag"), [("peft", "--use_peft"), ("bitsandbytes", "--load_in_4bit")])
def test_missing_package_is_named(name: str, flag: str, monkeypatch: pytest.MonkeyPatch):
    model_args, *_, args = parse("--use_peft", *({flag} - {"--use_peft"}))
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        "hf_sentiment_ft.model.lora.find_spec", lambda asked: None if asked == name else find_spec("json")
    )
    with pytest.raises(UsageError, match=f"{flag} needs the package {name}; install it"):
        check_lora(model_args, "user/base", tiny_config("gpt2"), args)


def test_published_adapter_is_loaded_from_the_hub(
    api: HfApi,
    quick_look: None,
    table: str,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """By the lines of its card, and by `predict`; the base model has no pad token."""
    api.create_repo("alice/base")
    api.upload_folder(repo_id="alice/base", folder_path=save_tiny("llama", tmp_path / "base"))
    output, flags = tmp_path / "output", ["--use_peft", "--publish_adapter", "--push_to_hub", "--hub_model_id", REPO]
    flags += ["--calibration", "contextual", "--max_steps", 12]
    saved, rows = train("alice/base", table, output, *flags, "--hub_timeout", 5)
    assert record(output)["status"] == "verified"
    files = files_of(api)
    assert files >= {"adapter_config.json", "adapter_model.safetensors", "label_words/config.json", "tokenizer.json"}
    assert not {"config.json", "model.safetensors", "decision.json", "decision_template.jinja"} & files
    assert saved.tokenizer.pad_token == saved.tokenizer.eos_token
    assert json.loads((output / "adapter_config.json").read_text())["base_model_name_or_path"] == "alice/base"
    assert str(tmp_path) not in "".join((output / name).read_text() for name in files if name.endswith(".json"))
    card = ModelCard.load(output / "README.md")
    assert (card.data.base_model, card.data.base_model_relation) == ("alice/base", "adapter")
    assert card.data.library_name == "peft"
    lines = card.text.split("```python\n")[1].split("```")[0].split("print(")[0]
    names: dict[str, Any] = {}
    exec(lines, names)
    said = [names["classify"](row["text"], return_full_text=False)[0]["generated_text"].strip() for row in rows]
    assert said == [row["generated_text"].strip() for row in rows]
    assert len(set(said)) == 2
    revision = api.model_info(REPO).sha
    for loaded in (saved, load_label_word_model(REPO, str(revision))):
        probabilities = predict_probabilities(loaded, [row["text"] for row in rows], batch_size=4)
        labels = [loaded.verbalizer.labels[best] for best in probabilities.argmax(1)]
        assert labels == [row["prediction"] for row in rows]
    flags = ["--model_name_or_path", REPO, "--test_file", table, "--output_dir", tmp_path / "evaluated", "--use_cpu"]
    evaluate.run(*evaluate.parse_evaluate_arguments([*map(str, flags)]))
    figures = [json.loads((folder / "test_results.json").read_text()) for folder in (output, tmp_path / "evaluated")]
    for name in ("test_accuracy", "test_uncalibrated_accuracy", "test_generation_accuracy"):
        assert figures[0][name] == figures[1][name]
    for adapter in (REPO, str(output)):
        with pytest.raises(UsageError, match=f"{adapter} is a LoRA adapter.* Use its base model, alice/base, or train"):
            find_model_to_train(ModelArguments(adapter))


@pytest.mark.parametrize(
    ("model_type", "name", "there"),
    [
        (
            "llama",
            "nowhere",
            "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, lm_head. Without the flag",
        ),
        ("gpt2", "lm_head", "c_attn, c_proj, c_fc. Without the flag"),
    ],
)
def test_layers_that_are_not_there_are_named_with_those_that_are(model_type: str, name: str, there: str):
    """One name among several, which PEFT would pass over; GPT-2's head has no weights of its own."""
    known = there.split(", ")[0]
    model_args, *_, args = parse("--use_peft", "--lora_target_modules", known, name)
    with pytest.raises(UsageError) as refusal:
        check_lora(model_args, "user/base", tiny_config(model_type), args)
    assert f"--lora_target_modules has {name}, but the model has no" in str(refusal.value)
    assert there in str(refusal.value)
    model_args.lora_target_modules = [known]
    check_lora(model_args, "user/base", tiny_config(model_type), args)
