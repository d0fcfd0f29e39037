"""Several questions about every text, where a text has several labels or a table several label columns.

A question stands behind the text: `you are an idiot`, a line break, `insult?`. The tokenizer reads it as a part of
the text, so that one tokenizer asks them all, and each is answered on its own, as if the others were not asked.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..config.templates import QUESTION, split_at_question
from ..data.questions import NO_AND_YES
from ..errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from transformers import PretrainedConfig

    from ..config.arguments import ModelArguments
    from ..data.splits import LabelledSplits

YES = NO_AND_YES.index("yes")


@dataclass(frozen=True)
class Questions:
    """What a model is asked about every text.

    Attributes:
        names: Name of each question: the label that a text may have, or the label column.
        label_ids: For each question, the ids of the labels that can be the answer.
        between: Words between the text and the question.
        multi_label: Whether the questions are the labels that a text may have, each answered by `no` or `yes`.
        separator: What separates the labels of a text where they are written as one string.
        thresholds: For multi-label models, the probability of `yes` from which on a text gets each label.
    """

    names: list[str]
    label_ids: list[list[int]]
    between: str
    multi_label: bool
    separator: str = ";"
    thresholds: list[float] | None = None

    @classmethod
    def saved_in(cls, config: "PretrainedConfig") -> "Questions | None":
        """Return the questions stored in a model's config; None for a model of a single question."""
        saved = getattr(config, "label_questions", None)
        return cls(**saved) if saved else None

    def store(self, config: "PretrainedConfig") -> None:
        """Store the questions in a model's config."""
        config.label_questions = dict(vars(self))

    @property
    def texts(self) -> list[str]:
        """Return the questions as the model reads them."""
        return [name.replace("_", " ") for name in self.names]

    def ask(self, texts: list[str]) -> list[str]:
        """Return each text with each question behind it, (rows * questions,), the questions of a text in a row."""
        return [f"{text}{self.between}{question}" for text in texts for question in self.texts]

    def chosen(self, probabilities: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
        """Return whether each text gets each label, (rows, questions), from the probabilities of `yes`."""
        import numpy as np

        return probabilities >= np.array(self.thresholds or [0.5] * len(self.names))

    def join(self, chosen: "np.ndarray[Any, Any]") -> list[str]:
        """Return the labels of each text as one string.

        Args:
            chosen: Whether each text has each label, (rows, questions).
        """
        return [self.separator.join(name for name, one in zip(self.names, row, strict=True) if one) for row in chosen]

    def allowed(self, num_labels: int) -> "np.ndarray[Any, Any]":
        """Return whether each label can be the answer to each question, (questions, num_labels)."""
        import numpy as np

        allowed = np.zeros((len(self.names), num_labels), dtype=bool)
        for question, ids in enumerate(self.label_ids):
            allowed[question, ids] = True
        return allowed


def check_questions(args: "ModelArguments", data: "LabelledSplits") -> "ModelArguments":
    """Return the arguments, whose prompt asks a question of each text if the rows have several labels.

    Args:
        args: Command-line arguments of the model.
        data: Labelled rows.

    Raises:
        UsageError: If the template has no place for a question although there are questions, or the other way round; or
            a flag does not go together with questions.
    """
    if not data.questions:
        if QUESTION in args.prompt_template:
            raise UsageError(
                f"--prompt_template contains {QUESTION}, which stands for one of several labels or label columns, but "
                "the rows have one label each. Remove it, or name the columns in --label_column_name."
            )
        return args
    if args.prompt_template == type(args).prompt_template:
        sign = "?" if data.multi_label else ":"
        args = replace(args, prompt_template=f"\n{{text}}\n{QUESTION}{sign}{{label_word}}")
    if QUESTION not in args.prompt_template:
        raise UsageError(
            f"--prompt_template is {args.prompt_template!r}, but the rows have several labels, each of which is asked "
            rf"for by itself. Put {QUESTION} after the text, such as '\n{{text}}\n{QUESTION}?{{label_word}}'."
        )
    if args.truncation_side == "right":
        raise UsageError(
            "--truncation_side is right, but where there are several labels, the question stands at the end of the "
            "text and would be cut off. Use left."
        )
    if args.calibration:
        raise UsageError(
            f"--calibration is {args.calibration}, which is for a single question. Remove it; thresholds are chosen "
            "for each label on the validation split."
        )
    if args.label_words == "auto":
        raise UsageError("--label_words is auto, which is for a single label column. Pass the words, or leave it out.")
    return args


def build_questions(prompt_template: str, data: "LabelledSplits") -> tuple[str, Questions | None]:
    """Return the template of the prompt without the question, and the questions; None if rows have one label each.

    Args:
        prompt_template: Prompt template of `check_questions`.
        data: Labelled rows.

    Raises:
        UsageError: If the question does not come once, after the text.
    """
    if not data.questions:
        return prompt_template, None
    template, between = split_at_question(prompt_template)
    names = [question.name for question in data.questions]
    ids = [question.label_ids for question in data.questions]
    return template, Questions(names, ids, between, data.multi_label, data.label_separator)
