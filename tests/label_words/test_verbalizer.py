"""Which label words are chosen, and the tokens that the model generates for them."""

import json
from typing import Any

import pytest

from hf_sentiment_ft.errors import UsageError
from hf_sentiment_ft.label_words.decision import question_orders
from hf_sentiment_ft.label_words.prompt import build_prompt
from hf_sentiment_ft.label_words.verbalizer import Verbalizer, build_verbalizer, choose_label_words, label_words_only

from ..tiny import KINDS, TEMPLATE, base_tokenizer

LABELS = ["neg", "pos"]


def build(words: list[Any], kind: str = "gpt2", template: str = TEMPLATE) -> Verbalizer:
    labels = [f"label {i}" for i in range(len(words))]
    tokenizer = base_tokenizer(kind)
    return build_verbalizer(tokenizer, build_prompt(tokenizer, template), labels, words)


def made_of(*token_ids: list[int]) -> Verbalizer:
    names = [str(number) for number in range(len(token_ids))]
    return Verbalizer(names, names, list(token_ids))


def refusal(words: list[Any], **given: str) -> str:
    with pytest.raises(UsageError) as error:
        build(words, **given)
    return str(error.value)


def test_default_words_are_readable():
    labels = ["neg", "POS", "neu", "Very_Negative", "5 stars", "0"]
    assert choose_label_words(labels, None) == [
        " negative", " positive", " neutral", " Very Negative", " 5 stars", " 0",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ('{"pos": " great", "neg": " awful"}', [" awful", " great"]),
        ('[" bad, really", "good"]', [" bad, really", "good"]),
        ("bad,good", ["bad", "good"]),
        (" bad, good", [" bad", " good"]),
        ('  {"neg": "très mauvais", "pos": "[ok]"}', ["très mauvais", "[ok]"]),
        ('{"pos": [" good", "great"], "neg": " bad"}', [" bad", [" good", "great"]]),
        ('[["a", "b"], ["c"]]', [["a", "b"], ["c"]]),
    ],
)
def test_words_are_used_exactly_as_given(given: str, words: list[str]):
    assert choose_label_words(LABELS, given) == words


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            "bad,good,so so",
            "--label_words has 3 words: ['bad', 'good', 'so so']; expected one for each of the 2 labels",
        ),
        ("bad", "--label_words has 1 words"),
        ('["bad"]', "--label_words has 1 words"),
        ("[]", "--label_words has 0 words"),
        ('{"neg": "bad"}', "--label_words has words for neg; expected one for each of the 2 labels: neg, pos."),
        ('{"neg": "bad", "pos": "good", "x": "y"}', "--label_words has words for neg, pos, x; expected"),
        ('{"neg": "bad"', "which is not valid JSON"),
        ("bad, ", "--label_words has ' ' for label 'pos'; expected a word"),
        ("[1, 2]", "--label_words has 1 for label 'neg'; expected a word"),
        ('{"neg": null, "pos": "good"}', "--label_words has None for label 'neg'; expected a word, or a list of words"),
        ('{"neg": [], "pos": "good"}', "--label_words has [] for label 'neg'; expected a word"),
        ('{"neg": ["a", 3], "pos": "good"}', "--label_words has ['a', 3] for label 'neg'; expected a word"),
    ],
)
def test_words_that_do_not_match_the_labels(given: str, message: str):
    with pytest.raises(UsageError) as error:
        choose_label_words(LABELS, given)
    assert message in str(error.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("template", [TEMPLATE, "Q: {text} A:{label_word}"])
@pytest.mark.parametrize("words", [[" aa", " bb"], ["aa", "bb"]])
def test_tokens_are_those_that_follow_the_ending(kind: str, words: list[str], template: str):
    """They are the tokens of the ending and the word in one string; on its own, a word may have others."""
    verbalizer, tokenizer = build(words, kind, template), base_tokenizer(kind)
    prompt = build_prompt(tokenizer, template)
    for word, ids in zip(words, verbalizer.token_ids, strict=True):
        own = ids[:-1] if ids[-1] == tokenizer.eos_token_id else ids
        assert prompt.ending_ids + own == tokenizer(prompt.ending + word, add_special_tokens=False).input_ids
        assert tokenizer.decode(own).strip() == word.strip()


def test_words_of_one_token():
    tokenizer = base_tokenizer("gpt2")
    verbalizer = build([" negative", " positive"])
    assert verbalizer.token_ids == [[tokenizer.vocab["Ġnegative"]], [tokenizer.vocab["Ġpositive"]]]
    assert (verbalizer.max_tokens, verbalizer.paths) == (1, [[]])


def test_words_of_several_tokens_of_one_length_need_no_end():
    verbalizer = build(["?!?", "!?!"])
    assert [len(ids) for ids in verbalizer.token_ids] == [3, 3], "one token for each character"
    assert base_tokenizer("gpt2").eos_token_id not in sum(verbalizer.token_ids, [])


def test_shorter_words_end_in_the_end_of_text_token():
    eos = base_tokenizer("gpt2").eos_token_id
    one, two, three = build([" negative", " negative!", " negative!?"]).token_ids
    assert one[1:] == [eos], "the model must end the word, or it would continue with the longer one"
    assert two[-1] == eos
    assert three[:2] == two[:2]
    assert eos not in three
    assert three[:1] == one[:1]


def test_words_of_mixed_length_need_an_end_of_text_token():
    message = refusal([" negative", " negative!"], kind="no_eos")
    assert "no end-of-text token" in message
    assert "' negative'" in message
    assert "use --label_words with the same number of tokens" in message


def test_words_of_the_same_tokens_are_refused_by_name():
    message = refusal([" good", " bad", " good"])
    assert "labels 'label 0' and 'label 2' have label words with the same tokens: ' good' and ' good'" in message
    assert "--label_words" in message
    assert "same tokens" in refusal(["é", "ü"], kind="unigram"), "the tokenizer knows neither"


@pytest.mark.parametrize("others", [([" good", " fine"], [" bad", " fine"]), ([" good"], [" bad", " good"])])
def test_labels_that_share_one_of_several_words_are_refused(others: tuple[list[str], list[str]]):
    shared = others[1][1]
    assert f"labels 'label 0' and 'label 1' have label words with the same tokens: {shared!r} and {shared!r}" in (
        refusal(list(others))
    )


SCRIPTS = ["sehr gut", " Müll", "很好", "差", " ممتاز", " سيئ", "🎬👍", "1", "10", " 1 star", " 2 stars", "плохо"]


@pytest.mark.parametrize("kind", ["gpt2", "llama_adds_bos"])  # both fall back to bytes
def test_words_of_any_script_and_several_of_a_label(kind: str):
    """Each word that the model generates counts for its label; only the first one is learned."""
    tokenizer = base_tokenizer(kind)
    verbalizer = build([SCRIPTS[:3], SCRIPTS[3], SCRIPTS[4:]], kind)
    assert verbalizer.words == [SCRIPTS[0], SCRIPTS[3], SCRIPTS[4]]
    assert verbalizer.synonyms == [SCRIPTS[1:3], [], SCRIPTS[5:]]
    if kind == "gpt2":  # the other one, made in memory, cannot decode its bytes
        said = [(tokenizer.decode(ids, skip_special_tokens=True), label) for label, ids in verbalizer.answers]
        assert sorted(said) == sorted(zip(SCRIPTS, [0, 0, 0, 1] + [2] * 8, strict=True))
    for label, ids in verbalizer.answers:
        assert verbalizer.label_of(ids + [-1] * (verbalizer.max_tokens - len(ids))) == label
    assert Verbalizer(**json.loads(json.dumps(vars(verbalizer)))) == verbalizer


def test_a_thousand_labels_with_shared_beginnings():
    verbalizer = build([f" team {number}" for number in range(1000)])
    assert len({tuple(ids) for ids in verbalizer.token_ids}) == 1000
    assert verbalizer.label_of(verbalizer.token_ids[-1]) == 999
    assert len(verbalizer.paths) <= 1000
    assert len(label_words_only(verbalizer, [5])) < 3000


@pytest.mark.parametrize(
    ("words", "ending", "end"),
    [([[5, 6]], [1, 2], [2]), ([[5, 2, 6]], [1, 2], [1, 2]), ([[2, 6]], [1, 2], [1, 2]), ([[5, 2]], [1, 2], [2])],
)
def test_constraint_begins_with_an_end_of_the_prompt_that_no_word_repeats(
    words: list[list[int]], ending: list[int], end: list[int]
):
    bias = label_words_only(made_of(*words, [7, 8, 9][: len(words[0])]), ending)
    assert all(sequence[: len(end)] == end for sequence, _ in bias)
    assert {tuple(sequence[len(end) :]) for sequence, _ in bias} >= {(words[0][0],), tuple(words[0])}


def test_word_that_repeats_the_whole_end_of_the_prompt_cannot_be_constrained():
    with pytest.raises(UsageError, match="pass --no_constrain_generation"):
        label_words_only(made_of([5, 2, 6], [7, 8, 9]), [2])


@pytest.mark.parametrize("template", ["{text}\nSentiment: {label_word}", "{text} neg{label_word}"])
def test_word_that_merges_with_the_ending_is_refused(template: str):
    word = "positive" if template.endswith(" {label_word}") else "ative"
    message = refusal([word, "zz"], template=template)
    assert f"the label word {word!r} merges with the end of the prompt" in message
    assert "put the space at the beginning of the label word, not at the end of --prompt_template" in message


MIXED = [
    made_of([5], [6], [7]),
    made_of([5, 6], [7, 8]),
    made_of([5, 6], [5, 7]),
    made_of([5, 0], [5, 6, 0], [5, 6, 7], [8, 9, 1]),
    made_of([1, 2, 3, 0], [1, 2, 3, 4, 5], [2, 0], [2, 3, 0]),
]


@pytest.mark.parametrize("verbalizer", MIXED)
def test_paths_reach_every_label_token_and_none_is_redundant(verbalizer: Verbalizer):
    needed = {tuple(ids[:depth]) for ids in verbalizer.token_ids for depth in range(len(ids))}

    def reached(paths: list[list[int]]) -> set[tuple[int, ...]]:
        return {tuple(path[:depth]) for path in paths for depth in range(len(path) + 1)}

    assert reached(verbalizer.paths) == needed
    for left_out in range(len(verbalizer.paths)):
        assert reached(verbalizer.paths[:left_out] + verbalizer.paths[left_out + 1 :]) != needed


@pytest.mark.parametrize("verbalizer", MIXED)
def test_label_of_knows_each_word_and_no_other(verbalizer: Verbalizer):
    width = verbalizer.max_tokens
    for label, ids in enumerate(verbalizer.token_ids):
        assert verbalizer.label_of(ids + [-1] * (width - len(ids))) == label
        assert verbalizer.label_of(ids[:-1] + [-1] * (width - len(ids) + 1)) == -1
        assert verbalizer.label_of([99] + [-1] * (width - 1)) == -1
        assert verbalizer.max_tokens >= len(ids)


def test_config_of_a_saved_model_makes_the_same_verbalizer():
    """`load_label_word_model` reads it back from JSON."""
    verbalizer = build([" negative", " negative!"])
    assert Verbalizer(**json.loads(json.dumps(vars(verbalizer)))) == verbalizer


def test_labels_in_words_answer_a_score_in_their_order():
    words = [" high", " low", " medium"]
    verbalizer = Verbalizer(["high", "low", "medium"], words, [[1], [2], [3]], order=["low", "medium", "high"])
    assert question_orders(verbalizer)["score"] == [1, 2, 0]
