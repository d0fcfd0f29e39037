"""Texts that a tokenizer reads differently where they are tokenized together with the prompt.

The saved tokenizer tokenizes a text alone and puts the prompt's tokens around it. `pipeline("decision")` renders prompt
and text by a Jinja template and tokenizes both together, without special tokens. Tokenizers merge some characters
across the border, as Qwen's does a full stop with the line break behind it. Which these are is tried on many texts.
"""

import copy
import json
from collections.abc import Iterable, Sequence
from itertools import product
from typing import TYPE_CHECKING

from .prompt import Prompt, build_prompt, put_prompt_into_tokenizer, remove_prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# What a text may begin or end with: tokenizers merge some of these with a prompt around it, and others not.
EDGES = (
    "a",
    "Z",
    "é",
    "日本",
    "3",
    ".",
    "...",
    "!",
    "?",
    ",",
    ")",
    '"',
    "'s",
    "’",
    "-",
    "_",
    "%",
    "<",
    "{",
    "🎬",
    "\u0301",
)
BLANKS = ["".join(run) for size in (1, 2, 3) for run in product(" \n\t", repeat=size)]
BLANKS += ["\r\n", "\u00a0", "\u3000"]


def find_limits(
    tokenizer: "PreTrainedTokenizerBase", prompt: Prompt, texts: Iterable[str], endings: Sequence[str] = ("",)
) -> tuple[list[str], str]:
    """Find out which texts are read alike together with the prompt and between its tokens.

    Args:
        tokenizer: The saved tokenizer, as loaded.
        prompt: Words and tokens before and after the text.
        texts: Texts of the run, which are tried besides those of `telling_texts`.
        endings: What always stands behind a text, as a question; of several, all texts are tried with the first.

    Returns:
        Jinja conditions on `state` that hold for the texts that are read alike, none if all are: tokenizers often merge
        only the white space at the ends of a text. And, if others are read differently, too, the reason with what to
        do; otherwise an empty string.
    """
    blank, starts, ends = False, set[str](), set[str]()
    tried = [text + endings[0] for text in (*telling_texts(tokenizer), *texts)]
    tried += [f"a film{ending}" for ending in endings[1:]]
    for text in read_differently(tokenizer, prompt, tried):
        before, after = text[: len(text) - len(text.lstrip())][:2], text[len(text.rstrip()) :][-2:]
        if not text.strip():
            blank = True
        elif text.startswith(tuple(starts)) or text.endswith(tuple(ends)):
            continue
        elif before:
            starts.add(before)
        elif after:
            ends.add(after)
        else:
            return [], _why(tokenizer, prompt, text)
    conditions = ["state.strip()"] * blank
    conditions += [f"not state.startswith({_literals(starts)})"] * bool(starts)
    conditions += [f"not state.endswith({_literals(ends)})"] * bool(ends)
    return conditions, ""


def telling_texts(tokenizer: "PreTrainedTokenizerBase") -> list[str]:
    """Return texts whose tokens show whether a prompt around them changes them."""
    texts = ["", "a moving,  funny\nfilm"]
    texts += [text for edge in EDGES for text in (edge, f"{edge}a film{edge}", f"{edge} a film {edge}")]
    texts += [text for edge in EDGES for text in (f" {edge}", f"\n{edge}", f"{edge} ", f"{edge}\n")]
    texts += [text for blank in BLANKS for text in (blank, f"{blank}a film", f"a film{blank}", f"a film.{blank}")]
    for token in tokenizer.all_special_tokens:
        texts += [token, f"{token}a film {token}", f"a {token} film{token}"]
    return texts


def read_differently(tokenizer: "PreTrainedTokenizerBase", prompt: Prompt, texts: Iterable[str]) -> list[str]:
    """Return the texts of which `pipeline("decision")` would read other tokens than `tokenizer(text)`.

    The pipeline is told not to look for control tokens in the text. The saved tokenizer reads them all as text anyway,
    and the pipeline would cut the text into pieces around them, which changes the tokens. It still removes its own two,
    `<|mark|>` and `<|split|>`, from every text.

    Args:
        tokenizer: The saved tokenizer, as loaded. A copy is asked, since the pipeline adds tokens.
        prompt: Words before and after the text.
        texts: Texts to try.
    """
    from transformers.decision import DecisionConfig

    decision = DecisionConfig(chat_template=rendering(prompt), sanitize_control_tokens=False)
    asked, different = copy.deepcopy(tokenizer), []
    decision.prepare_inputs({"state": "", "questions": {"": {"type": "noul"}}}, asked)  # adds the two tokens
    for text in texts:
        # As `prepare_inputs` goes on; before, it lists the whole vocabulary, which takes 0.05 s each time.
        message = [{"role": "user", "content": ""}]
        rendered = asked.apply_chat_template(message, chat_template=decision.chat_template, state=text)
        if rendered["input_ids"] != tokenizer(text).input_ids:
            different.append(text)
    return different


def _why(tokenizer: "PreTrainedTokenizerBase", prompt: Prompt, text: str) -> str:
    """Return why a text within the prompt would be read differently, and what to do."""
    control = [
        tokenizer.convert_ids_to_tokens(token)
        for token in prompt.beginning_ids + prompt.ending_ids
        if token in tokenizer.all_special_ids
    ]
    if control:
        return (
            f'its prompt contains the control token {control[0]}, which pipeline("decision") would read as text. Use '
            "--export_text_classification or hf_sentiment_ft.predict for probabilities."
        )
    cure = _exact_template(tokenizer, prompt, text)
    return (
        f'its tokenizer reads a text such as {text!r} together with the prompt, as pipeline("decision") does, '
        "differently than between the prompt's own tokens. "
        + (f"Train with --prompt_template {cure!r}." if cure else "Use hf_sentiment_ft.predict for probabilities.")
    )


def _exact_template(tokenizer: "PreTrainedTokenizerBase", prompt: Prompt, text: str) -> str:
    """Return the prompt template with other white space around the text, if it is exact then; otherwise empty."""
    for before, after in product(("\n", " "), repeat=2):
        template = f"{prompt.beginning.rstrip()}{before}{{text}}{after}{prompt.ending.lstrip()}{{label_word}}"
        base = copy.deepcopy(tokenizer)
        remove_prompt(base)
        tried = build_prompt(base, template)
        texts = [text, *(told for told in telling_texts(tokenizer) if told and told == told.strip())]
        if not read_differently(put_prompt_into_tokenizer(base, tried), tried, texts):
            return template
    return ""


def rendering(prompt: Prompt, text: str = "state") -> str:
    """Return the Jinja expression that writes the prompt around a variable, `state` by default."""
    return f"{{{{- {literal(prompt.beginning)} ~ {text} ~ {literal(prompt.ending)} -}}}}"


def _literals(values: set[str]) -> str:
    return "(" + "".join(f"{literal(value)}, " for value in sorted(values)) + ")"


def literal(value: str | list[str] | dict[str, str]) -> str:
    """Format strings as Jinja reads them: JSON with all characters beyond ASCII as they are."""
    return json.dumps(value, ensure_ascii=False)
