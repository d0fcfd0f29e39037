"""What becomes of each field of transformers' TrainingArguments here: it works, is refused, or has no effect.

`docs/training_arguments.md` is made of these tables by `tests/config/test_training_arguments.py`, which fails if a new
release of transformers has a field that is in none of them.
"""

from typing import Any

# Fields that do what transformers documents, with what is worth knowing about them here.
WORKS = {
    "output_dir": "",
    "per_device_train_batch_size": "",
    "num_train_epochs": "",
    "max_steps": "required by `--streaming`",
    "learning_rate": "2e-4 with `--use_peft`",
    "lr_scheduler_type": "refused without the arguments that it requires",
    "lr_scheduler_kwargs": "refused if the scheduler does not accept them",
    "warmup_steps": "below 1: share of all steps",
    "optim": "tried on a few weights before the run; lomo, adalomo and layer-wise optimizers are refused",
    "optim_args": "",
    "optim_target_modules": "",
    "weight_decay": "",
    "adam_beta1": "",
    "adam_beta2": "",
    "adam_epsilon": "",
    "gradient_accumulation_steps": "",
    "average_tokens_across_devices": "",
    "max_grad_norm": "",
    "label_smoothing_factor": "smooths over the label words, not over the vocabulary",
    "bf16": "the same as `--precision bf16`",
    "fp16": "needs a GPU",
    "tf32": "needs a GPU",
    "activation_checkpointing": "",
    "activation_checkpointing_kwargs": "",
    "gradient_checkpointing": "",
    "gradient_checkpointing_kwargs": "",
    "torch_compile": "",
    "torch_compile_backend": "",
    "torch_compile_mode": "",
    "neftune_noise_alpha": "",
    "torch_empty_cache_steps": "",
    "logging_strategy": "",
    "logging_steps": "",
    "logging_first_step": "",
    "log_on_each_node": "",
    "include_num_input_tokens_seen": "",
    "log_level": "",
    "log_level_replica": "",
    "disable_tqdm": "",
    "report_to": "refused if the tracker is not installed; in a recipe, a list is possible",
    "run_name": "",
    "project": "",
    "trackio_space_id": "the run also goes to this Space; without it, none is made, also with `--push_to_hub`",
    "trackio_bucket_id": "",
    "trackio_static_space_id": "off by default",
    "eval_strategy": "follows `--save_strategy`, unless both are given",
    "eval_steps": "follows `--save_steps`, unless both are given; implies `--eval_strategy steps`",
    "eval_delay": "",
    "per_device_eval_batch_size": "",
    "eval_on_start": "",
    "eval_accumulation_steps": "",
    "save_only_model": "",
    "save_strategy": "follows `--eval_strategy`, unless both are given",
    "save_steps": "follows `--eval_steps`, unless both are given; implies `--save_strategy steps`",
    "save_total_limit": "",
    "push_to_hub": "",
    "hub_token": "",
    "hub_private_repo": "",
    "hub_model_id": "",
    "hub_strategy": "",
    "hub_revision": "",
    "load_best_model_at_end": "off by default if nothing is evaluated or saved",
    "metric_for_best_model": "one of the figures on the validation split",
    "greater_is_better": "refused if it contradicts `--metric_for_best_model`",
    "full_determinism": "",
    "seed": "",
    "data_seed": "",
    "use_cpu": "",
    "dataloader_num_workers": "",
    "dataloader_pin_memory": "",
    "dataloader_persistent_workers": "",
    "dataloader_prefetch_factor": "",
    "dataloader_multiprocessing_context": "",
    "train_sampling_strategy": "",
    "ddp_find_unused_parameters": "",
    "ddp_bucket_cap_mb": "",
    "ddp_broadcast_buffers": "",
    "ddp_backend": "refused with one process",
    "ddp_timeout": "also the time that processes wait for one that prepares the data",
    "fsdp": "needs GPUs; the launch configuration `fsdp2` is tested",
    "fsdp_config": "needs GPUs",
    "deepspeed": "needs GPUs; the launch configurations `deepspeed_zero2` and `deepspeed_zero3` are tested",
    "debug": "",
    "skip_memory_metrics": "",
    "resume_from_checkpoint": "`true` resumes from the newest complete checkpoint",
}

# Fields that change nothing, and why.
NO_EFFECT = {
    "logging_nan_inf_filter": "a loss that is not finite always ends the run",
    "use_cache": "only generation uses the cache, and the saved model has it switched on",
    "remove_unused_columns": "only tokens and labels get into a batch",
    "hub_always_push": "checkpoints are pushed by this package; see docs/publishing.md",
    "restore_callback_states_from_checkpoint": "the callbacks have no state to restore",
    "include_for_metrics": "the figures need predictions and labels only",
    "local_rank": "the launcher sets the rank",
}

# Fields that are refused if they are set to anything but their default: why not, and what to do.
REFUSED = {
    "accelerator_config": "the order and the size of the batches are set here. Remove it.",
    "auto_find_batch_size": "a run must not depend on the memory that is free. Remove it; --max_tokens_per_microbatch "
    "limits the memory of a step without changing the result.",
    "batch_eval_metrics": "the figures are computed from all rows at once. Remove it.",
    "bf16_full_eval": "it would permanently convert the weights themselves before training. Remove it, or use --dtype "
    "bfloat16 if that is intended.",
    "dataloader_drop_last": "it would also drop rows of the evaluation. Remove it; the last batch of an epoch "
    "counts by its number of rows.",
    "dataloader_in_order": "a resumed run would see other batches. Remove it.",
    "ddp_static_graph": "batches that are split into micro-batches have no static graph. Remove it.",
    "do_eval": "without it, nothing would be measured. Remove it; to skip evaluation during training, use "
    "--eval_strategy no.",
    "do_predict": "the results are those on the test split. Remove it; use --test_split_percentage 0 if no test split "
    "should be taken from train.",
    "do_train": "this command trains. Use python -m hf_sentiment_ft.evaluate to evaluate a model without training.",
    "enable_jit_checkpoint": "a run saves a checkpoint when it gets SIGTERM anyway. Remove it.",
    "eval_do_concat_batches": "the figures are computed from all rows at once. Remove it.",
    "eval_use_gather_object": "predictions are tensors of one shape. Remove it.",
    "fp16_full_eval": "it would permanently convert the weights themselves before training. Remove it, or use --dtype "
    "float16 if that is intended.",
    "ignore_data_skip": "a resumed run would train on the same batches again. Remove it.",
    "label_names": "the labels' column in a batch is named labels. Remove it; use --label_column_name for the table.",
    "length_column_name": "the lengths are counted here. Remove it.",
    "liger_kernel_config": "--use_liger_kernel is not supported. Remove it.",
    "parallelism_config": "only data parallelism, FSDP and DeepSpeed are supported. Remove it, and use a launch "
    "configuration.",
    "prediction_loss_only": "all figures but the loss need the predictions. Remove it.",
    "save_on_each_node": "a run has one --output_dir, which all machines share. Remove it.",
    "use_liger_kernel": "its kernels replace the loss, which is computed at the label word only here. Remove it.",
}

# True by default here, so that it shows if one of them is switched off.
ALWAYS_DONE = {"do_train": True, "do_eval": True, "do_predict": True}
# What may be given nevertheless, besides the default of TrainingArguments.
USUAL: dict[str, Any] = ALWAYS_DONE | {"label_names": ["labels"]}

# Fields that are JSON; the last two may also be the path of a file.
JSON_FIELDS = ("lr_scheduler_kwargs", "activation_checkpointing_kwargs", "gradient_checkpointing_kwargs")
JSON_OR_FILE = ("fsdp_config", "deepspeed")

# Figures on the validation split by which a checkpoint can be chosen, and whether more is better.
METRICS = {
    "accuracy": True,
    "f1_macro": True,
    "generation_accuracy": True,
    "unconstrained_generation_accuracy": True,  # training/build.py refuses this and the next two where a run lacks them
    "mean_absolute_error": False,
    "soft_log_loss": False,
    "log_loss": False,
    "brier_score": False,
    "loss": False,
    "expected_calibration_error": False,
}

# Optimizers that change the weights during a backward pass, of which one step here may have several.
DURING_BACKWARD = ("lomo", "layerwise")
# Examples of what a scheduler needs.
SCHEDULER_ARGUMENTS = {
    "cosine_with_min_lr": '{"min_lr_rate": 0.1}',
    "cosine_warmup_with_min_lr": '{"min_lr_rate": 0.1}',
    "warmup_stable_decay": '{"num_decay_steps": 100}',
}
