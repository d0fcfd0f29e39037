"""The flags of a run, with their help texts, defaults and checks."""

import json
import os
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import UsageError
from .descriptions import read_descriptions

if TYPE_CHECKING:
    from transformers import TrainingArguments

# The prompt does not begin with the text: attention concentrates on the first token, whatever it is (Xiao et al. 2023,
# https://arxiv.org/abs/2309.17453), so that token should always be the same. See docs/accuracy.md for the figures.
DEFAULT_PROMPT_TEMPLATE = "\n{text}\nSentiment:{label_word}"
LABEL_DESCRIPTIONS = "{label_descriptions}"  # where a prompt template has them

# Defaults that differ from those of TrainingArguments.
TRAINING_DEFAULTS: dict[str, Any] = {
    "output_dir": "./output",
    "num_train_epochs": 1,  # more epochs make the probabilities worse; see docs/accuracy.md
    "per_device_train_batch_size": 16,
    "per_device_eval_batch_size": 32,
    "warmup_steps": 0.06,
    "weight_decay": 0.01,
    "train_sampling_strategy": "group_by_length",
    "eval_strategy": "epoch",
    "save_strategy": "epoch",
    "save_total_limit": 2,
    "load_best_model_at_end": True,
    "metric_for_best_model": "accuracy",
    "logging_steps": 20,
    "report_to": "none",
    "trackio_static_space_id": False,  # or Trainer would publish a Space that nobody has asked for
    "hub_strategy": "end",
    "ddp_timeout": 3 * 60 * 60,  # seconds that the other processes wait while one prepares large data
}

# LoRA's few weights start at zero, and learn best at a higher rate than TrainingArguments' 5e-5 for full fine-tuning.
LORA_LEARNING_RATE = 2e-4


def flag(default: Any, help: str) -> Any:
    """Return a dataclass field with a default and the help text that `--help` shows."""
    return field(default=default, metadata={"help": help})


@dataclass
class ModelArguments:
    """Arguments for the model, its prompt, precision, calibration and LoRA."""

    model_name_or_path: str = flag(
        "gpt2",
        "Model id on the Hub, folder, .gguf file, or package:NAME/FILE.gguf for a file in an installed Python package.",
    )
    model_revision: str = flag("main", "Branch, tag or commit of the model on the Hub.")
    dtype: str = flag("float32", "Data type of the weights in memory and on disk: float32, bfloat16 or float16.")
    trust_remote_code: bool = flag(False, "Run the Python code in the model's repository.")
    prompt_template: str = flag(
        DEFAULT_PROMPT_TEMPLATE,
        "The model's input: {text} once, or column names ('{title}\\n{body}'), and {label_word} at the end. "
        "{eos_token} and {bos_token} are replaced by the model's own tokens; \\n is a line break. chat: use the "
        "model's chat template; 'chat:Your question. {text}' also sets the user message.",
    )
    label_words: str | None = flag(
        None,
        "Words that the model answers with: a JSON object from label to word, or the words in the order of the labels, "
        "separated by commas. They are used exactly as given, including a leading space. A label may have a list of "
        """words ('{"pos": [" positive", " great"], ...}'): the first is trained, all of them count as answers. """
        "Default: a readable word for known labels (neg: ' negative'), otherwise the label's name. auto: the same, but "
        "a word of one token for each label, from its name or else from its train texts.",
    )
    ordered_labels: str | None = flag(
        None,
        "Labels that have an order, from the lowest to the highest, separated by commas (low,medium,high). They count "
        "as 1, 2, 3 in metrics, in the expected value of `predict`, and in decision models. Labels that are numbers "
        "have their order without this.",
    )
    label_descriptions: str | None = flag(
        None,
        "What some or all labels mean: a JSON object from label to description, or a YAML or JSON file with such a "
        "mapping. The prompt lists them as lines 'label word: description', in the order of the labels: at the "
        "beginning, or of the message with chat, unless {label_descriptions} in --prompt_template says where. "
        "--label_words auto chooses the same words as without.",
    )
    max_seq_length: int = flag(
        512,
        "Maximum number of tokens of a training text, including prompt and label word. Longer texts are truncated; "
        "prompt and label word never are.",
    )
    truncation_side: str = flag(
        "left", "Side on which long texts are truncated: left keeps the end, right keeps the beginning."
    )
    precision: str = flag(
        "auto",
        "Precision of training: fp32, bf16 (autocast; the weights keep their data type), or auto to choose by device. "
        "--bf16 is the same as --precision bf16. --fp16 is Trainer's, with loss scaling, and applies to evaluation "
        "too.",
    )
    attn_implementation: str = flag(
        "auto",
        "Attention implementation: eager, sdpa, flash_attention_2 (with --dtype bfloat16), ..., or auto to choose by "
        "device and text length.",
    )
    constrain_generation: bool = flag(
        True,
        "Save a generation config that allows only label words (transformers' sequence_bias), so that pipeline "
        "generates nothing else. --no_constrain_generation allows the whole vocabulary.",
    )
    calibration: str | None = flag(
        None,
        "For few or no training examples: subtract from the scores the model's bias towards some labels, measured on "
        "content-free texts (contextual; Zhao et al. 2021) or as the mean over the validation texts (validation). The "
        "bias is saved with the model.",
    )
    temperature_scaling: bool = flag(
        True,
        "After training, fit one number on the validation split by which all scores are divided, so that probabilities "
        "are neither too high nor too low (Guo et al. 2017). It is saved with the model and never changes an answer.",
    )
    target_precision: float | None = flag(
        None,
        "For texts that can have several labels: choose the probability from which on a text gets a label so that, on "
        "validation, at least this share of them is right, such as 0.9. Default: the best F1 of each label.",
    )
    zero_shot_baseline: bool = flag(True, "Evaluate the base model on the test split before training.")
    use_peft: bool = flag(False, "Train a LoRA adapter instead of all weights. The default learning rate is then 2e-4.")
    lora_r: int = flag(16, "Rank of the LoRA matrices.")
    lora_alpha: int = flag(32, "LoRA scaling: the adapter's output is multiplied by lora_alpha / lora_r.")
    lora_dropout: float = flag(0.05, "Dropout before the LoRA matrices.")
    lora_target_modules: list[str] | None = flag(None, "Names of the layers to adapt. Default: all-linear.")
    load_in_4bit: bool = flag(False, "With --use_peft: load the frozen weights in 4 bit (QLoRA; needs bitsandbytes).")
    publish_adapter: bool = flag(
        False, "With --use_peft: save and publish only the adapter; loading it needs peft and the base model."
    )

    def __post_init__(self) -> None:
        _check_choice("dtype", self.dtype, ("float32", "bfloat16", "float16"))
        _check_choice("precision", self.precision, ("auto", "fp32", "bf16", "fp16"))  # fp16 is set by --fp16 only
        _check_choice("truncation_side", self.truncation_side, ("left", "right"))
        check_dtype(self.attn_implementation, self.dtype)
        if self.calibration is not None:
            _check_choice("calibration", self.calibration, ("contextual", "validation"))
        for name, least in (("max_seq_length", 4), ("lora_r", 1), ("lora_alpha", 1)):
            _check_at_least(name, getattr(self, name), least)
        if self.target_precision is not None and not 0 < self.target_precision < 1:
            raise UsageError(f"--target_precision is {self.target_precision:g}; expected a number between 0 and 1.")
        if not 0 <= self.lora_dropout < 1:
            raise UsageError(f"--lora_dropout is {self.lora_dropout}; expected 0 or more, and less than 1.")
        for one in fields(self):
            of_lora = one.name.startswith("lora_") or one.name in ("load_in_4bit", "publish_adapter")
            if of_lora and getattr(self, one.name) != one.default and not self.use_peft:
                raise UsageError(f"--{one.name} requires --use_peft, which is missing; add --use_peft.")
        # A shell passes \n as two characters.
        self.prompt_template = self.prompt_template.replace("\\n", "\n").replace("\\t", "\t")
        if self.label_descriptions is not None:
            self.label_descriptions = json.dumps(read_descriptions(self.label_descriptions), ensure_ascii=False)
        elif LABEL_DESCRIPTIONS in self.prompt_template:
            raise UsageError(
                f"--prompt_template contains {LABEL_DESCRIPTIONS}, but --label_descriptions is missing; add it, or "
                "remove the placeholder."
            )


@dataclass
class DataArguments:
    """Arguments for the labelled texts to train and evaluate on."""

    dataset_name: str | None = flag(
        None,
        "Dataset id on the Hub, folder, or package:NAME/FOLDER. Default: cornell-movie-review-data/rotten_tomatoes, "
        "unless files are given.",
    )
    dataset_config_name: str | None = flag(None, "Configuration (subset) of the dataset.")
    dataset_revision: str = flag("main", "Branch, tag or commit of the dataset on the Hub.")
    train_split: str | None = flag(
        None, "Split to train on, such as train[:80%] or train+extra. Default: the split named train."
    )
    validation_split: str | None = flag(None, "Same as --train_split, for choosing the best checkpoint.")
    test_split: str | None = flag(None, "Same as --train_split, for the reported results.")
    train_file: str | None = flag(
        None,
        "CSV, TSV, JSON lines or Parquet file, optionally compressed (.csv.gz), or a pattern for several files "
        "('data/train-*.csv'). Use it instead of --dataset_name.",
    )
    validation_file: str | None = flag(None, "Same as --train_file, for choosing the best checkpoint.")
    test_file: str | None = flag(None, "Same as --train_file, for the reported results.")
    text_column_name: str | None = flag(
        None,
        "Column with the text, or several columns, separated by commas, whose texts are joined by a line break. "
        "Default: found by its name.",
    )
    text_template: str | None = flag(
        None,
        "Template that forms the text from several columns ('{title}\\n{body}'). The column names can also be used in "
        "--prompt_template.",
    )
    label_column_name: str | None = flag(
        None,
        "Column with the label, or with a list of labels. Several columns: toxic,threat (each 0 or 1, for texts that "
        "can have several labels; shares or counts of votes, for a text's single label), rater_a,rater_b (the labels "
        "that annotators chose), or 'queue|urgency' (each with its own labels). Default: found by its name.",
    )
    label_separator: str | None = flag(
        None, "What separates the labels of a text that can have several, in one column of strings, such as ';'."
    )
    validation_split_percentage: int = flag(
        10, "Percentage of train used for validation if there is no validation split."
    )
    test_split_percentage: int = flag(10, "Percentage of train used for testing if there is no test split; 0: no test.")
    max_train_samples: int | None = flag(None, "Train on this many rows, sampled from all classes with --seed.")
    max_eval_samples: int | None = flag(None, "Validate on this many rows, sampled in the same way.")
    max_test_samples: int | None = flag(None, "Test on this many rows, sampled in the same way.")
    num_shots_per_class: int | None = flag(
        None, "Few-shot: train on this many rows of each class, sampled with --seed."
    )
    sampling_seed: int | None = flag(
        None, "Random seed for the rows that are split off train or sampled. Default: --seed."
    )
    class_weights: str | None = flag(
        None, "balanced: weight the loss of each class inversely to its number of rows, for data with rare classes."
    )
    drop_duplicates: bool = flag(False, "Drop the train rows whose text is also in validation or test.")
    streaming: bool = flag(
        False,
        "Stream the train rows during training, for data that does not fit on disk; requires --max_steps. Validation "
        "and test are the first 10,000 rows of their splits, or 1,000 rows taken from train; use --max_eval_samples "
        "and --max_test_samples to change that. Labels that are not in the first rows must be listed in --label_words "
        "as a JSON object, unless the dataset declares them.",
    )
    shuffle_buffer_size: int = flag(
        10_000,
        "With --streaming: number of rows in the shuffle buffer. As many are read before training, to find the labels.",
    )
    preprocessing_num_workers: int | None = flag(None, "Number of processes for tokenization. Default: one.")
    save_dataset_dir: str | None = flag(None, "Save the raw dataset to this folder (Dataset.save_to_disk).")
    language: str | None = flag(None, "Language code for the model card, such as en. Default: the dataset's language.")

    def __post_init__(self) -> None:
        for name in ("dataset_name", "train_file", "validation_file", "test_file", "save_dataset_dir"):
            # Shells do not expand ~ in --train_file=~/x, and no shell reads a recipe.
            setattr(self, name, getattr(self, name) and os.path.expanduser(getattr(self, name)))
        sizes = ("max_train_samples", "max_eval_samples", "max_test_samples", "num_shots_per_class")
        for name in (*sizes, "preprocessing_num_workers", "shuffle_buffer_size"):
            if getattr(self, name) is not None:
                _check_at_least(name, getattr(self, name), 1)
        for name in ("validation_split_percentage", "test_split_percentage"):
            if not 0 <= getattr(self, name) <= 50:
                raise UsageError(f"--{name} is {getattr(self, name)}; expected 0 to 50.")
        if self.validation_split_percentage == 0:
            raise UsageError("--validation_split_percentage is 0; expected at least 1, to choose the best checkpoint.")
        if self.num_shots_per_class and self.max_train_samples:
            raise UsageError("--num_shots_per_class and --max_train_samples are both given; keep one.")
        if self.class_weights not in (None, "balanced"):
            raise UsageError(
                f"--class_weights is {self.class_weights!r}; expected balanced. Remove the flag for equal weights."
            )
        if self.train_file and self.dataset_name:
            raise UsageError("--dataset_name and --train_file are both given; keep the one to train on.")
        if (self.validation_file or self.test_file) and not self.train_file:
            raise UsageError("--validation_file and --test_file require --train_file, which is missing; add it.")
        if not self.train_file and not self.dataset_name:
            self.dataset_name = "cornell-movie-review-data/rotten_tomatoes"

    @property
    def name(self) -> str:
        """Return the name of the dataset, or the path of the training file."""
        return str(self.dataset_name or self.train_file)


@dataclass
class HubArguments:
    """Arguments for publishing, besides --push_to_hub and TrainingArguments' others."""

    hub_overwrite: bool = flag(False, "Overwrite a repository that was not published by this package.")
    hub_create_pr: bool = flag(False, "Open a pull request instead of committing.")
    hub_tag: str | None = flag(None, "Tag to set on the published commit.")
    hub_timeout: int = flag(120, "Seconds to wait for a response of the Hub; failures are retried for twice as long.")
    push_space: str | None = flag(
        None, "Also publish a page on which the model can be tried, as this Space (user/name); see docs/space.md."
    )
    space_sdk: str = flag(
        "static", "What runs the Space: static (the visitor's browser, free) or gradio (the Hub; paying accounts only)."
    )

    def __post_init__(self) -> None:
        _check_at_least("hub_timeout", self.hub_timeout, 1)
        _check_choice("space_sdk", self.space_sdk, ("static", "gradio"))

    @property
    def static_space(self) -> bool:
        """Return whether a Space will need the model as a classifier in ONNX.

        It may be published by another command, as for each of several seeds, whose `push_space` is empty.
        """
        return self.push_space is not None and self.space_sdk == "static"


@dataclass
class RunArguments:
    """Arguments for what happens around training: checks, memory and export."""

    dry_run: bool = flag(False, "Check everything, print the plan and exit, without training or writing to the Hub.")
    num_seeds: int = flag(
        1,
        "Train this many times, with --seed and the seeds after it, each in a folder of its own in --output_dir. The "
        "model that is best on validation is kept and published; results and card have the mean and the spread of all.",
    )
    overwrite_output_dir: bool = flag(False, "Replace the run that --output_dir already contains.")
    verbose: bool = flag(False, "Also show what the libraries say, and their progress bars.")
    keep_freed_memory: bool = flag(
        True, "Let glibc keep the memory that training frees, which is faster; no effect on other systems."
    )
    num_cpu_threads: int | None = flag(
        None,
        "Number of threads of each process on a CPU. Default: OMP_NUM_THREADS or Accelerate's "
        "--num_cpu_threads_per_process if you set one, otherwise the cores that the process may use, divided by the "
        "number of processes on the machine.",
    )
    max_tokens_per_microbatch: int | None = flag(
        None,
        "Maximum number of tokens in one forward and backward pass. Larger batches are split, which needs less memory "
        "and gives the same result. 0: never split. Default: 1024 on a CPU, otherwise 0.",
    )
    export_text_classification: bool = flag(
        False,
        "Also export the model for pipeline('text-classification'), with the same answers, to the subfolder "
        "text-classification; requires label words of one token.",
    )
    export_notebook: bool = flag(
        False, "Also write notebook.ipynb, with which visitors of the published model try it in Colab or Kaggle."
    )

    def __post_init__(self) -> None:
        _check_at_least("num_seeds", self.num_seeds, 1)
        _check_at_least("max_tokens_per_microbatch", self.max_tokens_per_microbatch or 0, 0)
        if self.num_cpu_threads is not None:
            _check_at_least("num_cpu_threads", self.num_cpu_threads, 1)


OURS = (ModelArguments, DataArguments, HubArguments, RunArguments)


class Arguments(NamedTuple):
    """All flags of a run, by group."""

    model: ModelArguments
    data: DataArguments
    hub: HubArguments
    run: RunArguments
    training: "TrainingArguments"

    @property
    def needs_classifier(self) -> bool:
        """Return whether the model must have an exact text classification model."""
        return self.run.export_text_classification or self.hub.static_space


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(f"--{name} is {value!r}; expected one of {', '.join(choices)}.")


def _check_at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise UsageError(f"--{name} is {value}; expected at least {least}.")


def check_dtype(attention: str, dtype: str) -> None:
    """Check that an attention implementation supports the data type of the weights.

    Training may use autocast, but the evaluations before and after it do not.

    Args:
        attention: Value of `--attn_implementation`.
        dtype: Data type of the weights.

    Raises:
        UsageError: If the implementation is for 16 bits only, like flash attention, and the weights are float32.
    """
    if "flash" in attention and dtype == "float32":
        raise UsageError(
            f"--attn_implementation is {attention}, which supports 16-bit data types only, but the weights are "
            "float32, and evaluation uses their data type. Add --dtype bfloat16, or use --attn_implementation sdpa."
        )
