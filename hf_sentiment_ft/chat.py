"""`--prompt_template chat`: the model's own chat template as the prompt."""

from typing import TYPE_CHECKING

from .errors import UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def render_chat(tokenizer: "PreTrainedTokenizerBase", template: str) -> str:
    r"""Render the chat template around a user's message, for the model to answer with the label word.

    Args:
        tokenizer: The base model's.
        template: `chat`, whose message is the text alone, or `chat:MESSAGE` with `{text}` or column names in the
            message, such as `chat:How does the writer feel? {text}`. Anything else is returned as it is.

    Returns:
        A prompt template, control tokens and all.

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
        raise UsageError(f"the chat template of {name} cannot be rendered: {error}; write the prompt out.") from error
    if str(rendered).count(message) != 1:
        raise UsageError(
            f"the chat template of {name} does not leave a user's message as it is; write the prompt out, with "
            "--prompt_template."
        )
    return f"{rendered}{{label_word}}"
