"""What is used of other libraries beyond their documented interface is there, and takes what it is given.

A release that changes it fails here, by name, and no user's run; the requirements end before the next major versions.
"""

import inspect
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from .architectures import save_tiny
from .training.test_trainer import make_trainer  # noqa: F401

# Module, name in it, and the parameters that are passed.
USED = [
    ("transformers", "Trainer._run_epoch", {"epoch"}),
    ("transformers", "Trainer._issue_warnings_after_load", {"load_result"}),
    ("transformers", "Trainer._get_output_dir", {"trial"}),
    ("transformers", "Trainer._save_checkpoint", {"model", "trial"}),
    ("transformers", "Trainer._save", {"output_dir", "state_dict"}),
    ("transformers", "Trainer.save_model", {"output_dir", "_internal_call"}),
    ("transformers", "Trainer._get_dataloader", {"dataset", "description", "batch_size", "sampler_fn", "is_training"}),
    ("transformers", "Trainer._get_train_sampler", {"train_dataset"}),
    ("transformers", "Trainer._get_eval_sampler", {"eval_dataset"}),
    ("transformers", "Trainer._prepare_inputs", {"inputs"}),
    ("transformers.decision", "DecisionConfig.prepare_inputs", {"request", "processor"}),
    ("transformers.decision", "label_token_ids", {"tokenizer", "labels"}),
    ("transformers.decision", "Question.answer", {"probabilities"}),
    ("transformers.utils", "cached_file", {"path_or_repo_id", "filename"}),
    ("transformers.modeling_utils", "set_zero3_state", set()),
    ("transformers.integrations.deepspeed", "unset_hf_deepspeed_config", set()),
    ("torch.distributed.distributed_c10d", "_set_pg_timeout", {"timeout", "group"}),
    ("datasets.packaged_modules.csv.csv", "Csv._generate_tables", {"files_iterables"}),
    ("datasets.packaged_modules.json.json", "Json._generate_tables", {"files_iterables"}),
    ("huggingface_hub.utils._http", "default_client_factory", set()),
    ("huggingface_hub.utils.sha", "git_hash", {"data"}),
    ("huggingface_hub.utils.sha", "sha_fileobj", {"fileobj"}),
    ("datasets.load", "DatasetCard.load", {"repo_id_or_path"}),
    ("accelerate.data_loader", "prepare_data_loader", {"split_batches", "put_on_device", "dispatch_batches"}),
    ("accelerate.utils", "DeepSpeedPlugin.set_deepspeed_weakref", set()),
]


@pytest.mark.parametrize(("module", "name", "parameters"), USED, ids=[name for _, name, _ in USED])
def test_what_is_called_takes_what_it_is_given(module: str, name: str, parameters: set[str]):
    owner: Any = __import__(module, fromlist=["_"])
    for part in name.split("."):
        owner = getattr(owner, part)
    assert parameters <= set(inspect.signature(owner).parameters)


def test_a_trainer_has_what_is_read_and_set(make_trainer):  # noqa: F811
    trainer = make_trainer()
    trainer.train()
    for name in ("_train_batch_size", "_tr_loss", "_loss_shifts_labels", "is_fsdp_enabled", "is_deepspeed_enabled"):
        assert hasattr(trainer, name), name
    assert trainer.model.config._attn_implementation
    assert trainer.model._hf_peft_config_loaded is False


def test_models_of_every_task_are_listed_by_their_configurations():
    import transformers

    assert transformers.GPT2Config in transformers.MODEL_FOR_CAUSAL_LM_MAPPING
    assert transformers.GPT2Config in transformers.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
    assert transformers.GPT2Config not in transformers.MODEL_FOR_MASKED_LM_MAPPING


def test_a_post_processor_and_a_cache_can_be_looked_into():
    import json

    from tokenizers.processors import TemplateProcessing
    from transformers import DynamicCache

    state = json.loads(TemplateProcessing(single="$A x", special_tokens=[("x", 1)]).__getstate__())
    assert state["special_tokens"]["x"]["ids"] == [1]
    assert DynamicCache().layers == []


@pytest.mark.parametrize("package", ["transformers", "huggingface_hub"])
def test_the_next_major_version_is_not_taken_unseen(package: str):
    asked = map(Requirement, requires("hf_sentiment_ft") or [])
    given = {found.name: found.specifier for found in asked if "extra" not in str(found.marker)}
    major = int(__import__(package).__version__.split(".")[0])
    assert not given[package].contains(f"{major + 1}.0.0")


def test_a_qwen2_model_is_taken_for_another_kind_by_the_decision_pipeline(tmp_path: Path, monkeypatch):
    """Remove the refusal in `label_words.decision` when this fails: the pipeline then loads such a model as it is."""
    from transformers import JevForDecision, pipeline

    class Built(Exception):
        pass

    def build(self: Any, config: Any) -> None:
        raise Built

    monkeypatch.setattr(JevForDecision, "__init__", build)
    with pytest.raises(Built):
        pipeline("decision", model=str(save_tiny("qwen2", tmp_path)))
