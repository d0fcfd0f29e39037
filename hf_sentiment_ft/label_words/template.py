"""Write out what a prompt template leaves open: the model's chat template, and what the labels mean.

What comes of it is the template that is saved with the model, so that nothing later needs to know how it was made.
"""

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..config.arguments import LABEL_DESCRIPTIONS, ModelArguments
from ..config.templates import FIELD, NO_COLUMNS, split_at_text
from ..errors import UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from ..data.splits import LabelledSplits

BEGINNING = re.compile(r"(chat:)?(\s|\{[be]os_token\})*")


def without_descriptions(args: ModelArguments, tokenizer: "PreTrainedTokenizerBase") -> str:
    """Return the prompt template as it would be if it did not describe the labels; see `write_out`."""
    return render_chat(tokenizer, args.prompt_template.replace(LABEL_DESCRIPTIONS, ""))


def write_out(
    args: ModelArguments,
    tokenizer: "PreTrainedTokenizerBase",
    data: "LabelledSplits",
    words: Sequence[str | list[str]],
) -> str:
    """Return the prompt template that is saved with the model.

    Args:
        args: Prompt template, and descriptions of the labels.
        tokenizer: Tokenizer of the base model.
        data: Labelled rows.
        words: Word or list of words of each label; the first one names the label in its description.

    Raises:
        UsageError: If the template cannot be written out; see `render_chat` and `describe_labels`.
    """
    if args.label_descriptions is None:
        return render_chat(tokenizer, args.prompt_template)
    names = [word if isinstance(word, str) else word[0] for word in words]
    shown = dict(zip(data.labels, names, strict=True))
    if data.multi_label:  # the label is asked for, and the word is yes or no
        shown = {question.name: question.name.replace("_", " ") for question in data.questions}
    template = render_chat(tokenizer, place_descriptions(args.prompt_template))
    return describe_labels(tokenizer, template, shown, json.loads(args.label_descriptions))


def render_chat(tokenizer: "PreTrainedTokenizerBase", template: str) -> str:
    r"""Render the chat template around a user message that the model answers with the label word.

    Args:
        tokenizer: Tokenizer of the base model.
        template: `chat`, for a message that is the text alone, or `chat:MESSAGE` with `{text}` or column names in the
            message, such as `chat:How does the writer feel? {text}`. Any other template is returned unchanged.

    Returns:
        Prompt template, including the control tokens.

    Raises:
        UsageError: If there is no chat template, or it changes the message or cannot be rendered.
    """
    kind, _, message = template.partition(":")
    if kind != "chat":
        return template
    from jinja2 import TemplateError

    name = tokenizer.name_or_path or type(tokenizer).__name__
    if not tokenizer.chat_template:
        raise UsageError(
            f"--prompt_template is {template!r}, but the tokenizer of {name} has no chat template; choose an instruct "
            "or chat model, or a template such as '\\n{text}\\nSentiment:{label_word}'."
        )
    message = message.removesuffix("{label_word}").strip() or "{text}"
    try:
        rendered = tokenizer.apply_chat_template(
            [{"role": "user", "content": message}], tokenize=False, add_generation_prompt=True
        )
    except TemplateError as error:
        raise UsageError(
            f"the chat template of {name} cannot be rendered: {error}. Write out the whole prompt in --prompt_template "
            "instead."
        ) from error
    if str(rendered).count(message) != 1:
        raise UsageError(
            f"the chat template of {name} does not contain the user's message once, unchanged. Write out the whole "
            "prompt in --prompt_template instead."
        )
    return f"{rendered}{{label_word}}"


def place_descriptions(template: str) -> str:
    r"""Return a prompt template that says where the descriptions of the labels stand: by default, at its beginning.

    White space and a beginning-of-text token stay in front of them, as in `\n{label_descriptions}\n\n{text}…`, and so
    does `chat:`, since they are part of the message.
    """
    if LABEL_DESCRIPTIONS in template:
        return template
    template = "chat:{text}" if template in ("chat", "chat:") else template
    begins = BEGINNING.match(template)
    assert begins is not None
    return f"{begins[0]}{LABEL_DESCRIPTIONS}\n\n{template[begins.end() :]}"


def describe_labels(
    tokenizer: "PreTrainedTokenizerBase", template: str, names: dict[str, str], descriptions: dict[str, str]
) -> str:
    """Put the descriptions of the labels into a prompt template, one a line.

    Args:
        tokenizer: Tokenizer of the base model.
        template: Prompt template, with a place for the descriptions.
        names: What each label is called in the prompt, in the order of the labels.
        descriptions: Description of each label that has one.

    Raises:
        UsageError: If a described label does not exist, or a description would be read as more than words: it contains
            a control token, or what would be a placeholder of the template.
    """
    if unknown := [label for label in descriptions if label not in names]:
        raise UsageError(
            f"--label_descriptions describes {', '.join(unknown)}; expected some of the {len(names)} labels: "
            f"{', '.join(names)}."
        )
    lines = "\n".join(
        f"{name.strip()}: {descriptions[label]}" for label, name in names.items() if label in descriptions
    )
    has_columns = split_at_text(template)[1] != "{text}"
    control = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    placeholders = [field[0] for field in FIELD.finditer(lines) if has_columns or field[1] in NO_COLUMNS]
    for kind, found in (("control token of the model", control), ("placeholder", placeholders)):
        for one in found:
            if one in lines:
                raise UsageError(
                    f"--label_descriptions contains {one!r}, which the prompt would take for a {kind}. Describe the "
                    "label without it."
                )
    return template.replace(LABEL_DESCRIPTIONS, lines)
