"""Templates with column names in braces, which make one text of several columns."""

import re
from typing import Any

from ..errors import UsageError
from .arguments import DataArguments, ModelArguments

FIELD = re.compile(r"\{([^{}]+)\}")
QUESTION = "{label}"  # what a text is asked about, where it has several labels
NO_COLUMNS = ("text", "label", "label_word", "label_descriptions", "eos_token", "bos_token")


def split_at_text(template: str) -> tuple[str, str, str]:
    r"""Split a prompt template into the part before the text, the text itself, and the part after it.

    The text is `{text}` or, without it, everything from the first column name to the last. For example, the text of
    `Title: {title}\nBody: {body}\nQueue:{label_word}` is `{title}\nBody: {body}`. It is empty if the template has none.
    """
    fields = [field for field in FIELD.finditer(template) if field[1] not in NO_COLUMNS]
    if "{text}" in template or not fields:
        beginning, text, ending = template.partition("{text}")
        return beginning, text, ending
    first, last = fields[0].start(), fields[-1].end()
    return template[:first], template[first:last], template[last:]


def split_at_question(template: str) -> tuple[str, str]:
    r"""Split off the question: return the template without it, and the words between the text and the question.

    For example, of `\n{text}\n{label}?{label_word}` these are `\n{text}?{label_word}` and a line break.

    Raises:
        UsageError: If the question does not come once, after the text.
    """
    before, _, after = template.partition(QUESTION)
    beginning, text, between = split_at_text(before)
    if not text or QUESTION in after or "{text}" in after:
        raise UsageError(
            f"--prompt_template is {template!r}; expected {{label}} once, after the text, such as "
            r"'\n{text}\n{label}?{label_word}'."
        )
    return beginning + text + after, between


def fill(template: str, row: dict[str, Any]) -> str:
    """Fill a template with the columns of a row; a column without a value is left empty."""
    return FIELD.sub(lambda field: row[field[1]] or "", template)


def column_names(template: str) -> list[str]:
    """Return the columns that a template names, each once, in order."""
    return list(dict.fromkeys(FIELD.findall(template)))


def resolve_columns(model_args: ModelArguments, data_args: DataArguments) -> None:
    """Form the texts from the columns that `--prompt_template` or `--text_template` names.

    Args:
        model_args: The model flags.
        data_args: The data flags; `text_template` is set in them.

    Raises:
        UsageError: If several flags say how the texts are formed, or a control token stands between columns.
    """
    text = split_at_text(model_args.prompt_template)[1]
    if FIELD.search(text) and text != "{text}":
        if data_args.text_template:
            raise UsageError(
                "--prompt_template and --text_template both name columns; use {text} in --prompt_template, or remove "
                "--text_template."
            )
        data_args.text_template = text
    if not data_args.text_template:
        return
    data_args.text_template = data_args.text_template.replace("\\n", "\n").replace("\\t", "\t")
    names = column_names(data_args.text_template)
    if data_args.text_column_name:
        raise UsageError(
            f"--text_column_name is given, but a template names the columns {', '.join(names)}; remove one of the two, "
            "or use {text} in --prompt_template."
        )
    if not names or set(NO_COLUMNS) & set(names):
        raise UsageError(
            f"the text template is {data_args.text_template!r}; expected column names in braces, and none "
            f"of {', '.join(f'{{{name}}}' for name in NO_COLUMNS)}."
        )
