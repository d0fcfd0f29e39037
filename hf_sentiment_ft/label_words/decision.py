"""Save a trained model as a decision model, for `pipeline("decision")` and `/v1/systemone` of `transformers serve`.

A decision model answers a question with the probability of each option, read from the logits of one token each, as
label words of one token are. `decision.json` has these words and the temperature, and `decision_template.jinja` has the
prompt. The pipeline tokenizes prompt and text together, without the tokenizer's post-processor. Whether it then reads
the same tokens depends on the tokenizer, and is tried on many texts. If not, the template refuses every question and
says why: without a template, transformers would use a prompt of its own, and the answers would be wrong.
"""

import inspect
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from .joint_tokens import find_limits, literal, rendering
from .prompt import Prompt
from .questions import YES, Questions
from .verbalizer import READABLE_LABELS, Verbalizer

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

TRUE_AND_FALSE = {"true": "false", "yes": "no", "1": "0", "positive": "negative"}
REFUSING = "This model cannot be asked as a decision model: "
SHOWN = 20  # options that a message names


def check_decision_model(
    config: "PretrainedConfig",
    tokenizer: "PreTrainedTokenizerBase",
    prompt: Prompt,
    verbalizer: Verbalizer,
    calibrated: bool,
    texts: Iterable[str] = (),
    questions: Questions | None = None,
) -> tuple[list[str], str]:
    """Find out whether a decision model would give the probabilities of `predict`; this needs no weights.

    Args:
        config: Configuration of the causal language model.
        tokenizer: Tokenizer that contains the prompt.
        prompt: Words and tokens before and after the text.
        verbalizer: Label words.
        calibrated: Whether the scores are calibrated.
        texts: Texts of the run, on which the tokenization is tried, too.
        questions: What the model is asked about every text; None for a single question.

    Returns:
        Return value of `find_limits`: conditions on the text, and the reason why it would not, with what to do.
    """
    refusal = _obstacle(config, tokenizer, verbalizer, calibrated)
    if refusal or questions is None:
        return ([], refusal) if refusal else find_limits(tokenizer, prompt, texts)
    conditions, refusal = find_limits(tokenizer, prompt, texts, questions.ask([""]))
    asked = f"{{text}}{questions.between}{{label}}".replace("\n", "\\n")  # in the template that it proposes
    return conditions, refusal.replace("{text}", asked)


def save_decision_model(
    folder: Path,
    config: "PretrainedConfig",
    prompt: Prompt,
    verbalizer: Verbalizer,
    texts: Iterable[str] = (),
    questions: Questions | None = None,
) -> None:
    """Write `decision.json` and `decision_template.jinja` beside a saved model.

    `decision.json` has one list of label words for each type of question. A model of several label columns, which need
    one each, gets both files for each column, in the subfolders that `column_folder` names.

    Args:
        folder: Folder of the saved model and its tokenizer.
        config: Configuration of the model, with calibration and temperature.
        prompt: Words and tokens before and after the text.
        verbalizer: Label words.
        texts: Texts of the run, on which the tokenization is tried, too.
        questions: What the model is asked about every text; None for a single question.
    """
    from transformers import AutoTokenizer
    from transformers.decision import DecisionConfig

    tokenizer = AutoTokenizer.from_pretrained(folder)
    calibrated = getattr(config, "label_log_prior", None) is not None
    conditions, refusal = check_decision_model(config, tokenizer, prompt, verbalizer, calibrated, texts, questions)
    if questions and not questions.multi_label and not refusal:
        refusal = (
            "it answers several questions, each with its own options. Pass the decision_config of one of them, such as "
            f"DecisionConfig.from_pretrained(model, subfolder={column_folder(questions, 0)!r})."
        )
        folders = {folder / column_folder(questions, number): [number] for number in range(len(questions.names))}
    else:
        folders = {} if refusal else {folder: list(range(len(questions.names))) if questions else []}
    if refusal:
        DecisionConfig(chat_template=f"{{{{ raise_exception({literal(REFUSING + refusal)}) }}}}").save_pretrained(
            folder
        )
    temperature = float(getattr(config, "label_temperature", None) or 1.0)
    for where, asked in folders.items():
        ids = questions.label_ids[asked[0]] if questions else list(range(len(verbalizer.labels)))
        names, words, tokens = verbalizer.labels, verbalizer.words, verbalizer.token_ids
        own = Verbalizer([names[i] for i in ids], [words[i] for i in ids], [tokens[i] for i in ids])
        orders = {"noul": [YES, 1 - YES]} if questions and questions.multi_label else question_orders(own)
        DecisionConfig(
            labels={kind: [own.words[label] for label in order] for kind, order in orders.items()},
            temperature=dict.fromkeys(orders, temperature),
            chat_template=_template(prompt, own.labels, orders, conditions, questions, asked),
            sanitize_control_tokens=False,  # see `read_differently`
        ).save_pretrained(where)


def column_folder(questions: Questions, number: int) -> str:
    """Return the subfolder of the decision config of a label column, a name that every file system takes."""
    return f"decision/{re.sub(r'[^A-Za-z0-9_-]+', '-', questions.names[number]).strip('-') or 'column'}-{number + 1}"


def refusal_of(folder: Path) -> str | None:
    """Return why the decision model in a folder refuses all questions; None if it answers."""
    import jinja2
    from transformers.decision import DecisionConfig

    decision = DecisionConfig.from_pretrained(folder)
    if decision.labels:
        return None
    try:
        jinja2.Environment().from_string(decision.chat_template or "").render(raise_exception=_raise)
    except UsageError as error:
        return str(error).removeprefix(REFUSING)
    return None


def question_orders(verbalizer: Verbalizer) -> dict[str, list[int]]:
    """Return the types of question that a model answers, each with the labels in the order of its options.

    Every model answers `choice`, in the order of the labels. `noul`, whose options are true and false, needs two labels
    of which one can be named true, and `score` labels that have an order, the lowest first.
    """
    labels = verbalizer.labels
    orders = {"choice": list(range(len(labels)))}
    for names in (verbalizer.words, labels):
        if true := [
            label for label in orders["choice"] if len(labels) == 2 and _is_true(names[label], names[1 - label])
        ]:
            orders["noul"] = [true[0], 1 - true[0]]
            break
    if numbers := verbalizer.numbers:
        orders["score"] = sorted(orders["choice"], key=numbers.__getitem__)
    return orders


def _is_true(name: str, other: str) -> bool:
    """Return whether one of two names is the true one: `yes` of yes and no, `spam` of spam and not spam."""
    plain = [re.sub(r"[\s_-]+", " ", word).strip().casefold() for word in (name, other)]
    one, two = (READABLE_LABELS.get(word, word) for word in plain)
    return TRUE_AND_FALSE.get(one) == two or two in (f"not {one}", f"no {one}", f"non {one}", f"non{one}")


def _obstacle(
    config: "PretrainedConfig", tokenizer: "PreTrainedTokenizerBase", verbalizer: Verbalizer, calibrated: bool
) -> str:
    """Return why a model cannot be a decision model, whatever its texts, and what to do; empty if it can."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_DECISION_MAPPING
    from transformers.decision import label_token_ids

    kind = config.model_type
    if verbalizer.synonyms:
        return (
            "a label has several words, of which it would read one. Give each label a single word with --label_words."
        )
    several = [word for word, ids in zip(verbalizer.words, verbalizer.token_ids, strict=True) if len(ids) > 1]
    if several:
        return (
            f"the label word {several[0]!r} has several tokens, and it reads one token for each label. Use "
            "--label_words with words of one token, or --label_words auto, which proposes some."
        )
    if calibrated:
        return "it cannot subtract what --calibration measures. Train without --calibration."
    if type(config) in MODEL_FOR_DECISION_MAPPING:  # tests/test_upstream.py
        return (
            f'pipeline("decision") takes {kind} models for models of another kind, of which it then makes up the '
            "weights. Use hf_sentiment_ft.predict for probabilities."
        )
    model_class = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)  # None if it brings its own Python code
    if model_class is None or "logits_to_keep" not in inspect.signature(model_class.forward).parameters:
        return (
            f"transformers cannot ask {kind} models for the logits of one position, as "
            'pipeline("decision") does. Use hf_sentiment_ft.predict for probabilities.'
        )
    try:
        ids = label_token_ids(tokenizer, tuple(verbalizer.words))
    except ValueError:
        ids = []
    if ids != [word[0] for word in verbalizer.token_ids]:
        return (
            "its label words have other tokens after the prompt than on their own. Use --label_words that begin with a "
            "space."
        )
    return ""


def _template(
    prompt: Prompt,
    labels: list[str],
    orders: dict[str, list[int]],
    conditions: list[str],
    questions: Questions | None = None,
    asked: Sequence[int] = (),
) -> str:
    """Return the Jinja template that writes the prompt around `state`, and refuses other questions than the model's.

    Args:
        prompt: Words before and after the text.
        labels: Labels that can be the answer.
        orders: Return value of `question_orders`.
        conditions: Return value of `check_decision_model`.
        questions: What the model is asked about every text; None for a single question.
        asked: Numbers of the questions that this template asks. One of several is chosen by its `instructions` or, if
            there are none, by its name.
    """
    lines = [
        _refuse_unless(
            f"question.type in {literal(list(orders))}",
            f"This model only answers questions of the type {' or '.join(orders)}. Change `type`.",
        )
    ]
    for kind, field in (("choice", "options"), ("score", "descriptions")):
        if kind in orders:
            options = [labels[label] for label in orders[kind]]
            lines.append(
                _refuse_unless(
                    f'question.type != "{kind}" or question.{field} == {literal(options)}',
                    f"This model answers a {kind} with exactly these options, in this order: "
                    f"{', '.join(options[:SHOWN])}{', …' if len(options) > SHOWN else ''}. Use them as `criteria`.",
                )
            )
    lines.append(_refuse_unless("state is string", "This model reads a text. Pass a string as `state`."))
    merged = (
        "This text is empty, or this model's tokenizer would merge the white space at one of its ends with the prompt. "
        "Pass a text without white space at its ends."
    )
    text = "state"
    if questions:
        text, names = "asked", [questions.names[number] for number in asked]
        texts = [questions.texts[number] for number in asked]
        chosen = "question.instructions or question.name" if len(asked) > 1 else literal(texts[0])
        known = literal(dict(zip(names, texts, strict=True)) | {text: text for text in texts})
        message = f"This model is asked about {', '.join(names[:SHOWN])}{', …' if len(names) > SHOWN else ''}. "
        lines += [
            f"{{%- set name, known = {chosen}, {known} -%}}",
            _refuse_unless("name in known", f"{message}Use one of these as `instructions`, or as the question's name."),
            f"{{%- set asked = state ~ {literal(questions.between)} ~ known[name] -%}}",
        ]
        conditions = [condition.replace("state.", "asked.", 1) for condition in conditions]
    lines += [_refuse_unless(condition, merged) for condition in conditions]
    return "\n".join([*lines, rendering(prompt, text), ""])


def _refuse_unless(condition: str, message: str) -> str:
    return f"{{%- if not ({condition}) -%}}{{{{ raise_exception({literal(message)}) }}}}{{%- endif -%}}"


def _raise(message: str) -> None:
    raise UsageError(message)
