"""What a model is asked: prompt, label words, and rows whose class ids match the label words."""

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..config.arguments import ModelArguments
from ..data.splits import LabelledSplits
from ..errors import UsageError
from ..model.loading import (
    ModelSource,
    context_length,
    find_adapter,
    find_base_model,
    load_config,
    load_model,
    load_tokenizer,
)
from ..model.lora import merge_adapter, move_to_full_precision, quantization, save_adapter_config
from ..runtime.device import choose_attention, disable_cudnn_attention
from .auto_words import AUTO, choose_single_tokens
from .calibration import UNCALIBRATED, Calibration
from .classifier import check_text_classification
from .decision import check_decision_model, save_decision_model
from .known_labels import with_labels, with_questions
from .model import prepare_for_generation, saved_verbalizer
from .prompt import Prompt, build_prompt, put_prompt_into_tokenizer, read_prompt, remove_prompt
from .questions import Questions, build_questions, check_questions
from .template import without_descriptions, write_out
from .verbalizer import Verbalizer, build_verbalizer, choose_label_words, label_words_only, read_order

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase, Trainer, TrainingArguments


logger = logging.getLogger(__name__)

TRIED_TEXTS = 200  # of validation, on which a decision model is tried


@dataclass(frozen=True)
class LabelWordTask:
    """A model and what it is asked; the weights are not loaded yet.

    Attributes:
        args: Command-line arguments; values that a trained model brings itself replace the given ones.
        base: Where to load the model from.
        config: Configuration of the model.
        tokenizer: Tokenizer that contains the prompt.
        prompt: Words and tokens before and after the text.
        verbalizer: Label words.
        data: Rows, with class ids in the order of the verbalizer's labels.
        questions: What is asked about every text, if rows have several labels; None for one label each.
        description_tokens: How many more tokens the prompt has because it describes the labels.
    """

    args: ModelArguments
    base: ModelSource
    config: "PretrainedConfig"
    tokenizer: "PreTrainedTokenizerBase"
    prompt: Prompt
    verbalizer: Verbalizer
    data: LabelledSplits
    questions: Questions | None = None
    description_tokens: int = 0

    @property
    def max_train_length(self) -> int:
        """Return the number of tokens to which a training row, prompt and label word together, is truncated."""
        return min(self.args.max_seq_length, context_length(self.config))

    def set_generation_config(self, model: "PreTrainedModel", calibration: Calibration = UNCALIBRATED) -> None:
        """Set up a model so that a bare `pipeline` generates the label word.

        Args:
            model: Model whose config and generation config are changed in place.
            calibration: What turns its scores into probabilities.
        """
        bias = None
        if self.args.constrain_generation:
            bias = label_words_only(self.verbalizer, self.prompt.ending_ids, calibration.log_prior)
        prepare_for_generation(model, self.tokenizer, self.args.prompt_template, self.verbalizer, bias, calibration)
        if self.questions:
            dataclasses.replace(self.questions, thresholds=calibration.label_thresholds).store(model.config)

    def load_model(self, args: "TrainingArguments", precision: str, longest: int) -> "PreTrainedModel":
        """Load the base model, with attention and quantization for training, ready to generate label words.

        Args:
            args: Training arguments, for the device.
            precision: `fp32` or `bf16`.
            longest: Number of tokens of the longest training prompt.
        """
        attention = choose_attention(self.args.attn_implementation, args.device, longest)
        disable_cudnn_attention(args.device)
        quantized = quantization(precision) if self.args.load_in_4bit else None
        model = load_model(self.base, self.args.dtype, self.tokenizer, attention, quantized)
        self.set_generation_config(model)
        return model

    def merge_adapter(self, trainer: "Trainer") -> None:
        """Merge a LoRA adapter into the weights, unless it is published as an adapter; leave other models unchanged.

        Evaluation must measure the model that is published, so an adapter trained on 4-bit weights is first moved to
        unquantized ones.

        Args:
            trainer: Trainer that has trained the model; it continues with the merged model.
        """
        if self.args.load_in_4bit:
            move_to_full_precision(trainer, lambda: load_model(self.base, self.args.dtype, self.tokenizer))
        if self.args.use_peft and not self.args.publish_adapter:
            merge_adapter(trainer)

    def warn_if_no_decision_model(self) -> None:
        """Log why the trained model will not answer `pipeline("decision")`, if it will not, and what to do."""
        if self.args.publish_adapter:
            logger.info("An adapter is not saved as a decision model: transformers would ask its base model's.")
            return
        calibrated = self.args.calibration is not None
        given = self.config, self.tokenizer, self.prompt, self.verbalizer, calibrated, self._tried_texts, self.questions
        if refusal := check_decision_model(*given)[1]:
            logger.warning("The model will not be a decision model: %s", refusal)

    @property
    def _tried_texts(self) -> list[str]:
        return self.data.splits["validation"][:TRIED_TEXTS]["text"]

    def save(self, trainer: "Trainer", calibration: Calibration) -> None:
        """Save the model, or only its adapter, and the tokenizer to the output folder, ready for `pipeline`.

        A whole model is also saved as a decision model.

        Args:
            trainer: Trainer that has trained the model.
            calibration: What turns its scores into probabilities.
        """
        if self.args.publish_adapter:
            model = trainer.model.get_base_model()
        else:
            model = trainer.accelerator.unwrap_model(trainer.model, keep_torch_compile=False)
        self.set_generation_config(model, calibration)  # again, since Trainer changes the config
        trainer.save_model()
        folder = Path(str(trainer.args.output_dir))
        if self.args.publish_adapter and trainer.args.should_save:
            save_adapter_config(model, folder)
        elif trainer.args.should_save:
            given = self.prompt, self.verbalizer, self._tried_texts, self.questions
            save_decision_model(folder, model.config, *given)


def build_task(
    args: ModelArguments,
    base: ModelSource,
    config: "PretrainedConfig",
    data: LabelledSplits,
    needs_classifier: bool = False,
) -> LabelWordTask:
    """Load the model's tokenizer, and build the prompt and the label words from the command-line arguments.

    Descriptions of the labels are part of the prompt, and name each label by its word. Automatic words are therefore
    chosen without them.

    Args:
        args: Prompt template, label words, descriptions of the labels, and other arguments of the model.
        base: Where to load the model from.
        config: Configuration of the model.
        data: Labelled rows.
        needs_classifier: Whether to refuse what cannot be exported for `pipeline("text-classification")`.

    Raises:
        UsageError: If there is no tokenizer, or prompt, label words and tokenizer do not fit together.
    """
    args = check_questions(args, data)
    tokenizer = load_tokenizer(base, add_pad_token=not args.publish_adapter)
    if saved_verbalizer(config):
        remove_prompt(tokenizer)
        data.notes.append(
            "The base model had already been trained with hf_sentiment_ft. Rows evaluated here may have been among its "
            "train rows."
        )
    bare = build_prompt(tokenizer, build_questions(without_descriptions(args, tokenizer), data)[0])
    if args.label_words == AUTO:
        words: Sequence[str | list[str]] = choose_single_tokens(tokenizer, bare, data.labels, data.splits["train"])
    else:
        words = choose_label_words(data.labels, args.label_words)
    args = dataclasses.replace(args, prompt_template=write_out(args, tokenizer, data, words))
    if saved_verbalizer(config) and config.prompt_template != args.prompt_template:
        logger.warning(
            "%s was trained with --prompt_template %r, and will now be trained with %r. To keep its prompt, pass its "
            "template.",
            *(base.path, config.prompt_template, args.prompt_template),
        )
    template, questions = build_questions(args.prompt_template, data)
    prompt = build_prompt(tokenizer, template)
    verbalizer = build_verbalizer(tokenizer, prompt, data.labels, words)
    if questions and args.ordered_labels:
        raise UsageError("--ordered_labels is for rows of one label each, but these have several. Remove it.")
    verbalizer = dataclasses.replace(verbalizer, order=read_order(data.labels, args.ordered_labels))
    if args.constrain_generation:
        label_words_only(verbalizer, prompt.ending_ids)  # fail now rather than after training
    wrapped = put_prompt_into_tokenizer(tokenizer, prompt, args.truncation_side)
    if needs_classifier:
        check_text_classification(config, wrapped, verbalizer, questions)
    more = prompt.num_tokens - bare.num_tokens
    return LabelWordTask(args, base, config, wrapped, prompt, verbalizer, data, questions, more)


def prepare_task(args: ModelArguments, data: LabelledSplits) -> LabelWordTask:
    """Build the task of an evaluation.

    A model trained by this package brings its own prompt, label words and calibration; for any other model, the
    command-line arguments set them.

    Args:
        args: Command-line arguments of the model.
        data: Labelled rows.

    Raises:
        UsageError: If the model cannot be loaded, or its labels are not those of the dataset.
    """
    base = find_adapter(find_base_model(args))
    config = load_config(base)
    verbalizer = saved_verbalizer(config)
    if verbalizer is None:
        if len(data.labels) < 2:
            raise UsageError(
                f"the rows have one label, {data.labels[0]!r}, and {args.model_name_or_path} was not trained with "
                "hf_sentiment_ft, so it knows no other labels. Evaluate it on rows of at least two labels."
            )
        return build_task(args, base, config, data)
    tokenizer, questions = load_tokenizer(base), Questions.saved_in(config)
    if questions:
        data = with_questions(data, questions, verbalizer.labels, args.model_name_or_path)
    elif data.questions:
        raise UsageError(
            f"the rows have several labels, but {args.model_name_or_path} was trained on rows of one label each. "
            "Evaluate it on a single label column."
        )
    else:
        data = with_labels(data, verbalizer.labels, args.model_name_or_path)
    dtype = str(config.dtype or "float32").removeprefix("torch.")  # the dtype in which `pipeline` computes
    args = dataclasses.replace(args, dtype=dtype, truncation_side=tokenizer.truncation_side, calibration=None)
    return LabelWordTask(args, base, config, tokenizer, read_prompt(tokenizer), verbalizer, data, questions)
