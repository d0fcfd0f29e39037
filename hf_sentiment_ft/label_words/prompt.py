"""The prompt template, and how it is stored in the tokenizer.

Training and inference cannot drift apart if there is only one tokenization and it ships with the model. The words
before and after the text therefore become part of the tokenizer's post-processor, so that `tokenizer("great film")`
returns the whole prompt.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..config.templates import split_at_text
from ..errors import UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

LABEL_WORD = "{label_word}"
TRIED_TEXTS = ("a film", "3 stars", "- no")


@dataclass(frozen=True)
class Prompt:
    """Words and tokens before and after the text.

    Attributes:
        beginning: Words before the text.
        ending: Words after the text; the label word comes next.
        beginning_ids: Token ids before the text, including the model's own beginning-of-text token.
        ending_ids: Token ids after the text. The last one is the decision position.
        space: Symbol for the space before the text if that space belongs to the text's first word; otherwise empty.
    """

    beginning: str
    ending: str
    beginning_ids: list[int]
    ending_ids: list[int]
    space: str = ""

    @property
    def num_tokens(self) -> int:
        """Return the number of tokens that every prompt has in addition to those of the text."""
        return len(self.beginning_ids) + len(self.ending_ids)

    def truncate(self, input_ids: list[int], max_length: int, side: str) -> list[int]:
        """Truncate the text of a prompt, but never the words around it.

        Args:
            input_ids: Token ids of a whole prompt.
            max_length: Maximum number of tokens in the result.
            side: Side from which tokens are removed: `left` keeps the end of the text, `right` its beginning.
        """
        excess = len(input_ids) - max_length
        if excess <= 0:
            return input_ids
        first, last = len(self.beginning_ids), len(input_ids) - len(self.ending_ids)
        text = input_ids[first + excess : last] if side == "left" else input_ids[first : last - excess]
        return input_ids[:first] + text + input_ids[last:]


def split_template(template: str) -> tuple[str, str]:
    """Split a prompt template into the words before and after the text.

    Args:
        template: Prompt template, such as `{text} Sentiment:{label_word}`.

    Raises:
        UsageError: If the template does not contain `{text}` exactly once, or columns instead, and end in
            `{label_word}`.
    """
    beginning, text, ending = split_at_text(template)
    if not text or "{text}" in ending or template.count(LABEL_WORD) != 1 or not ending.endswith(LABEL_WORD):
        raise UsageError(
            f"--prompt_template is {template!r}; expected {{text}} once and {LABEL_WORD} at the end, "
            "such as '\\n{text}\\nSentiment:{label_word}', or column names instead of {text}."
        )
    ending = ending.removesuffix(LABEL_WORD)
    if not ending:
        raise UsageError(
            f"--prompt_template is {template!r}; expected something between the text and the label word, so that the "
            "model can tell where the text ends. Add at least {eos_token}."
        )
    return beginning, ending


def build_prompt(tokenizer: "PreTrainedTokenizerBase", template: str) -> Prompt:
    """Tokenize the beginning and the ending of a template.

    The text is inserted unchanged; only in the template may words such as `<|endoftext|>` become control tokens.

    Args:
        tokenizer: Tokenizer of the base model, without a prompt.
        template: Prompt template; `{eos_token}` and `{bos_token}` stand for the tokenizer's own tokens.

    Raises:
        UsageError: If the template is invalid, or names a token that the tokenizer does not have.
    """
    beginning, ending = split_template(template)
    for name in ("eos_token", "bos_token"):
        if f"{{{name}}}" in template:
            token = getattr(tokenizer, name)
            if token is None:
                raise UsageError(
                    f"--prompt_template contains {{{name}}}, but this model's tokenizer has no {name}. Remove it from "
                    "the template."
                )
            beginning, ending = (part.replace(f"{{{name}}}", token) for part in (beginning, ending))

    def encode(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False, split_special_tokens=False).input_ids) if text else []

    # Keep what the tokenizer itself adds before a text, such as <s>. What it adds after a text is dropped, since it
    # would come between the text and the ending.
    framed, bare = tokenizer("a").input_ids, encode("a")
    own_beginning = framed[: framed.index(bare[0])]
    beginning_ids, space = _encode_beginning(tokenizer, encode, beginning)
    if beginning_ids[: len(own_beginning)] != own_beginning:  # a chat template may contain it
        beginning_ids = own_beginning + beginning_ids
    return Prompt(beginning, ending, beginning_ids, encode(ending), space)


def tokenize_texts(tokenizer: "PreTrainedTokenizerFast", texts: list[str]) -> list[list[int]]:
    """Return the token ids of each text within its prompt, as `tokenizer(texts).input_ids`, in half the time.

    The tokenizer itself also makes offsets, masks and types of all tokens, which nobody reads.
    """
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()  # an earlier call may have set these three
    backend.no_padding()
    backend.encode_special_tokens = tokenizer.split_special_tokens
    return [encoding.ids for encoding in backend.encode_batch_fast(texts)]


def _encode_beginning(
    tokenizer: "PreTrainedTokenizerBase", encode: Callable[[str], list[int]], beginning: str
) -> tuple[list[int], str]:
    """Return the token ids of the words before the text, and the symbol for the space before it.

    Most tokenizers merge a space with the word after it. A prompt such as `Review: ` must therefore leave its last
    space to the text: a space on its own is a token that models have rarely seen before a word.
    """
    if beginning.endswith(" "):
        ids = encode(beginning[:-1])
        begun = tokenizer.convert_ids_to_tokens(encode(" a"))[0].startswith("▁")
        for before, space in (("", ""), (" ", "▁" if begun else " ")):
            if all(encode(beginning + text) == ids + encode(before + text) for text in TRIED_TEXTS):
                return ids, space
    # Together with a text, other tokens may come out than without it: for two line breaks, two, and in GPT-2 one.
    joint = [(encode(beginning + text), encode(text)) for text in TRIED_TEXTS]
    found = [ids[: -len(text)] for ids, text in joint if ids[-len(text) :] == text]
    same = len(found) == len(joint) and all(ids == found[0] for ids in found)
    return (found[0] if same else encode(beginning)), ""


def read_prompt(tokenizer: "PreTrainedTokenizerBase") -> Prompt:
    """Recover the prompt that `put_prompt_into_tokenizer` stored in a tokenizer, by decoding its tokens."""
    pieces = json.loads(tokenizer.backend_tokenizer.post_processor.__getstate__())["special_tokens"]
    beginning, ending = (pieces.get(name, {}).get("ids", []) for name in ("[BEGINNING]", "[ENDING]"))
    space = "".join(pieces.get("[SPACE]", {}).get("tokens", []))
    return Prompt(tokenizer.decode(beginning), tokenizer.decode(ending), beginning, ending, space)


def remove_prompt(tokenizer: "PreTrainedTokenizerBase") -> None:
    """Undo `put_prompt_into_tokenizer`, so that a trained model can be trained further.

    A beginning-of-text token is kept, since the model has never seen a text without it.
    """
    from tokenizers.pre_tokenizers import Sequence
    from tokenizers.processors import TemplateProcessing

    backend, prompt = tokenizer.backend_tokenizer, read_prompt(tokenizer)
    begins = prompt.beginning_ids[:1] == [tokenizer.bos_token_id]
    own = [(tokenizer.bos_token, tokenizer.bos_token_id)] if begins else []
    backend.post_processor = TemplateProcessing(single=[*(token for token, _ in own), "$A"], special_tokens=own)
    if prompt.space:
        backend.pre_tokenizer = Sequence([*backend.pre_tokenizer][1:])


def put_prompt_into_tokenizer(
    tokenizer: "PreTrainedTokenizerBase", prompt: Prompt, truncation_side: str = "left"
) -> "PreTrainedTokenizerFast":
    """Return a tokenizer that adds the prompt to every text, also after saving and loading, and pads on the left.

    The tokenizer is a generic `PreTrainedTokenizerFast`, since some model-specific classes (GPTNeoXTokenizer) rebuild
    their post-processor on loading. Control tokens inside a text are read as plain text.

    Args:
        tokenizer: Fast tokenizer of the base model.
        prompt: Prompt to store.
        truncation_side: Side from which `truncation=True` removes tokens of long texts, `left` or `right`.

    Raises:
        UsageError: If the tokenizer has no fast backend, or the prompt could not be stored in it.
    """
    from tokenizers.pre_tokenizers import Metaspace, Sequence
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    if not tokenizer.is_fast:
        raise UsageError(
            f"{type(tokenizer).__name__} has no fast backend, so the prompt cannot be stored in it; "
            "use a model whose repository has a tokenizer.json."
        )
    special_tokens = []
    for name, ids in (("[BEGINNING]", prompt.beginning_ids), ("[ENDING]", prompt.ending_ids)):
        if ids:
            special_tokens.append({"id": name, "ids": ids, "tokens": tokenizer.convert_ids_to_tokens(ids)})
    single = " ".join(["[BEGINNING]"] * bool(prompt.beginning_ids) + ["$A", "[ENDING]"])
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer,
        model_max_length=tokenizer.model_max_length,
        padding_side="left",
        truncation_side=truncation_side,
        clean_up_tokenization_spaces=False,
        split_special_tokens=True,
        **({"chat_template": tokenizer.chat_template} if tokenizer.chat_template else {}),
        **tokenizer.special_tokens_map,
    )
    _split_control_tokens(wrapped)
    if prompt.space:
        before = Metaspace(replacement=prompt.space, prepend_scheme="first", split=False)
        own = wrapped.backend_tokenizer.pre_tokenizer
        wrapped.backend_tokenizer.pre_tokenizer = Sequence([before, own] if own else [before])
        special_tokens.append({"id": "[SPACE]", "ids": [0], "tokens": [prompt.space]})  # for `read_prompt` only
    wrapped.backend_tokenizer.post_processor = TemplateProcessing(
        single=single, pair=f"{single} $B:1", special_tokens=special_tokens
    )
    text = " a" if prompt.space else "a"
    expected = prompt.beginning_ids + tokenizer(text, add_special_tokens=False).input_ids + prompt.ending_ids
    if wrapped("a").input_ids != expected:
        raise UsageError(
            f"the prompt could not be stored in {type(tokenizer).__name__}: it returns {wrapped('a').input_ids}; "
            f"expected {expected}. Please report this together with the model's name."
        )
    return wrapped


def _split_control_tokens(tokenizer: "PreTrainedTokenizerFast") -> None:
    """Keep a Unigram model (Kudo 2018, https://arxiv.org/abs/1804.10959) from reading control tokens inside a text.

    Control tokens are the highest-scoring pieces of a Unigram vocabulary, so `split_special_tokens` is not enough: the
    pre-tokenizer also has to split off their first character.
    """
    from tokenizers import Regex
    from tokenizers.models import Unigram
    from tokenizers.pre_tokenizers import Sequence, Split

    backend = tokenizer.backend_tokenizer
    if not isinstance(backend.model, Unigram):
        return
    special = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    pattern = "|".join(f"{re.escape(token[0])}(?={re.escape(token[1:])})" for token in special if len(token) > 1)
    split = Split(Regex(pattern), "isolated")
    backend.pre_tokenizer = Sequence([backend.pre_tokenizer, split]) if backend.pre_tokenizer else split
