"""Scores and generated tokens, compared with one row at a time without padding, and with `generate`."""

import inspect
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
import torch

from hf_sentiment_ft.label_words.scoring import CACHED_TOKENS, score_label_words
from hf_sentiment_ft.label_words.verbalizer import Verbalizer, label_words_only
from hf_sentiment_ft.model.inputs import forward_arguments, left_pad, model_inputs

from ..tiny import reference_scores, tiny_model

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

ARCHITECTURES = ("gpt2", "llama", "bloom", "mistral")
VOCABULARY, PAD, EOS = 601, 600, 0
WORDS = {
    "one token": [[5], [6], [7]],
    "two tokens": [[5, 6], [5, 7], [8, 6]],
    "mixed": [[5, EOS], [5, 6, EOS], [5, 6, 7, 8], [9, EOS]],
    "tree": [[5, 6, 7], [5, 6, 8], [5, 9, 7], [8, 6, 7], [8, 9, 4], [3, 1, 2]],
}

model_of = cache(tiny_model)


def verbalizer_of(token_ids: list[list[int]]) -> Verbalizer:
    names = [f"word {number}" for number in range(len(token_ids))]
    return Verbalizer(names, names, token_ids)


@pytest.fixture(scope="module")
def prompts() -> list[list[int]]:
    """Prompts of different lengths."""
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(1, 600, (length,), generator=generator).tolist() for length in (1, 3, 4, 9, 17, 2, 30, 5)]


def score(model: "PreTrainedModel", prompts: list[list[int]], verbalizer: Verbalizer) -> tuple["Tensor", ...]:
    mask = left_pad([[1] * len(row) for row in prompts], 0)
    return score_label_words(model, left_pad(prompts, PAD), mask, verbalizer, forward_arguments(model))


@torch.no_grad()
def generate(model: "PreTrainedModel", prompt: list[int], num_tokens: int, **config: Any) -> list[int]:
    """Generate from one prompt as the saved generation config does: greedily, at most the longest label word."""
    made = model.generate(
        torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        max_new_tokens=num_tokens, do_sample=False, pad_token_id=PAD, eos_token_id=EOS, **config,
    )  # fmt: skip
    return made[0, len(prompt) :].tolist()


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_scores_equal_one_row_at_a_time(architecture: str, words: str, prompts: list[list[int]]):
    model = model_of(architecture)
    scores = score(model, prompts, verbalizer_of(WORDS[words]))[0]
    expected = reference_scores(model, prompts, WORDS[words])
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-4)
    assert expected.argmax(1).unique().numel() > 1, (
        "the best label differs between prompts, otherwise the comparison would show nothing"
    )


def test_scores_are_the_same_in_any_batch(prompts: list[list[int]]):
    model, verbalizer = model_of("gpt2"), verbalizer_of(WORDS["mixed"])
    together, *generated = score(model, prompts, verbalizer)
    for row, prompt in enumerate(prompts):
        alone, *generated_alone = score(model, [prompt], verbalizer)
        torch.testing.assert_close(alone[0], together[row], rtol=1e-4, atol=1e-4)
        assert [tokens[0].tolist() for tokens in generated_alone] == [tokens[row].tolist() for tokens in generated]


def test_scores_of_one_token_are_log_probabilities(prompts: list[list[int]]):
    everything = verbalizer_of([[token] for token in range(VOCABULARY)])
    scores = score(model_of("llama"), prompts, everything)[0]
    torch.testing.assert_close(scores.exp().sum(1), torch.ones(len(prompts)))


def words_that_the_model_says(
    model: "PreTrainedModel", prompts: list[list[int]], lengths: list[int]
) -> list[list[int]]:
    """Return label words that the model generates, and others with the same prefix that it does not generate."""
    words = []
    for prompt, length in zip(prompts, lengths, strict=False):
        said = generate(model, prompt, length)
        for word in (said, [*said[:-1], (said[-1] + 1) % PAD]):
            if word not in words:
                words.append(word)
    return words


@pytest.mark.parametrize("lengths", [[1, 1, 1], [2, 2, 2], [3, 3], [1, 2, 3, 4]])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_generated_tokens_are_those_of_generate(architecture: str, lengths: list[int], prompts: list[list[int]]):
    """They are compared as long as they are a prefix of a label word, and one token further."""
    model = model_of(architecture)
    verbalizer = verbalizer_of(words_that_the_model_says(model, prompts, lengths))
    generated = score(model, prompts, verbalizer)[1].tolist()
    for prompt, row in zip(prompts, generated, strict=True):
        made = generate(model, prompt, verbalizer.max_tokens)
        known = [token for token in row if token >= 0]
        assert row == known + [-1] * (verbalizer.max_tokens - len(known))
        assert known == made[: len(known)]
        begun = [len(known) == 1 or known[:-1] == word[: len(known) - 1] for word in verbalizer.token_ids]
        assert any(begun)
        goes_on = any(known == word[: len(known)] and len(word) > len(known) for word in verbalizer.token_ids)
        assert not goes_on, "generation is followed as long as it may become a label word"
    assert len({verbalizer.label_of(row) for row in generated}) > 1


ENDING = [11, 12]


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_constrained_tokens_are_those_of_generate_and_always_a_word(
    architecture: str, words: str, prompts: list[list[int]]
):
    """This uses the saved form of the constraint, and texts that contain label words and the end of the prompt."""
    model, verbalizer = model_of(architecture), verbalizer_of(WORDS[words])
    bias = json.loads(json.dumps(label_words_only(verbalizer, ENDING)))
    ended = [[*prompt, *ENDING] for prompt in [*prompts, [12, 5, 6, 12, 5], [3, 11, 12, 5], [11, 12], [5, 6]]]
    constrained = score(model, ended, verbalizer)[2].tolist()
    for prompt, row in zip(ended, constrained, strict=True):
        said = generate(model, prompt, verbalizer.max_tokens, sequence_bias=bias)
        assert [token for token in row if token >= 0] == said
        assert verbalizer.label_of(row) >= 0
    if verbalizer.max_tokens == 1:
        scores = score(model, ended, verbalizer)[0]
        assert [verbalizer.label_of(row) for row in constrained] == scores.argmax(1).tolist()


def test_synonyms_add_up_to_the_score_of_their_label(prompts: list[list[int]]):
    apart, labels = verbalizer_of([[5, 6], [8, 9], [5, 7], [5, 3]]), [0, 1, 0, 1]
    together = Verbalizer(["a", "b"], ["56", "89"], [[5, 6], [8, 9]], [["57"], ["53"]], [[[5, 7]], [[5, 3]]])
    of_words, *generated = score(model_of("llama"), prompts, apart)
    scores, *generated_together = score(model_of("llama"), prompts, together)
    expected = torch.stack([of_words[:, [0, 2]].exp().sum(1), of_words[:, [1, 3]].exp().sum(1)], dim=1)
    torch.testing.assert_close(scores, expected.log())
    for tokens, same in zip(generated, generated_together, strict=True):
        assert tokens.tolist() == same.tolist()
        said = [apart.label_of(row) for row in tokens.tolist()]
        assert [together.label_of(row) for row in tokens.tolist()] == [
            labels[word] if word >= 0 else -1 for word in said
        ]


def test_a_word_counts_as_generated_only_when_it_is_whole(prompts: list[list[int]]):
    model = model_of("gpt2")
    said = generate(model, prompts[0], 3)
    for word, right in ((said, True), (said[:1] + [(said[1] + 1) % PAD] + said[2:], False)):
        verbalizer = verbalizer_of([word, [599, 598, 597]])
        row = score(model, prompts[:1], verbalizer)[1][0].tolist()
        assert (verbalizer.label_of(row) == 0) is right


def test_model_is_asked_for_no_more_logits_than_needed(prompts: list[list[int]]):
    model, seen = model_of("llama"), []
    hook = model.lm_head.register_forward_hook(lambda module, inputs, output: seen.append(output.shape[:2]))
    score(model, prompts, verbalizer_of(WORDS["one token"]))
    score(model, prompts, verbalizer_of(WORDS["two tokens"]))
    hook.remove()
    assert seen == [(8, 1), (8, 1), (2 * 8, 1)], "those of the prompts, then those of two prefixes together"


@contextmanager
def tokens_read(model: "PreTrainedModel") -> Iterator[list[tuple[int, ...]]]:
    """Record the shape of each batch of tokens that the model reads."""
    shapes: list[tuple[int, ...]] = []
    embeddings = model.get_input_embeddings()
    hook = embeddings.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(inputs[0].shape)))
    yield shapes
    hook.remove()


@pytest.mark.parametrize(
    ("words", "read"),
    [
        ("one token", []),
        ("two tokens", [(2, 1)]),
        ("mixed", [(1, 1), (1, 3)]),  # 9; 5 6 7
        ("tree", [(2, 1), (1, 2), (4, 1)]),  # 5 and 8; 3 1; 6 and 9 after 5, and after 8
    ],
)
@pytest.mark.parametrize("limit", ["CACHED_TOKENS", "KEPT_LOGITS"])
def test_prompts_and_what_label_words_share_are_read_once(
    limit: str, words: str, read: list[tuple[int, int]], prompts: list[list[int]], monkeypatch: pytest.MonkeyPatch
):
    """Several prefixes are read together as far as memory for caches and logits allows, with the same scores."""
    model, verbalizer = model_of("llama"), verbalizer_of(WORDS[words])
    with tokens_read(model) as together:
        expected = score(model, prompts, verbalizer)
    assert sorted(together) == sorted([(8, 30), *((8 * number, tokens) for number, tokens in read)])
    monkeypatch.setattr(f"hf_sentiment_ft.label_words.scoring.{limit}", 1)
    with tokens_read(model) as one_by_one:
        scores, *generated = score(model, prompts, verbalizer)
    assert sorted(one_by_one) == sorted([(8, 30), *((8, tokens) for number, tokens in read for _ in range(number))])
    torch.testing.assert_close(scores, expected[0], rtol=1e-6, atol=1e-6)
    for tokens, same in zip(generated, expected[1:], strict=True):
        assert tokens.tolist() == same.tolist()


def test_a_thousand_words_take_few_forwards(prompts: list[list[int]]):
    words = [[1 + number % 400, 1 + number // 400, 5] for number in range(1000)]
    with tokens_read(model_of("gpt2")) as shapes:
        scores = score(model_of("gpt2"), prompts, verbalizer_of(words))[0]
    assert sum(rows for rows, _ in shapes[1:]) == 8 * (400 + 1000)
    assert len(shapes) < 40
    assert max(rows * 30 for rows, _ in shapes) <= CACHED_TOKENS
    expected = reference_scores(model_of("gpt2"), prompts, words[::333])
    torch.testing.assert_close(scores[:, ::333], expected, rtol=1e-4, atol=1e-4)


def test_processes_call_the_model_equally_often(prompts: list[list[int]]):
    """If each process holds a part of the weights, a different number of calls would make all of them wait forever."""
    words = verbalizer_of([[first, second] for first in range(1, 400) for second in (1, 2)])
    calls = []
    for own in (prompts, [prompt[:3] for prompt in prompts]):
        mask = left_pad([[1] * len(row) for row in own], 0)
        with tokens_read(model_of("gpt2")) as shapes:
            score_label_words(model_of("gpt2"), left_pad(own, PAD), mask, words, {"past_key_values"}, longest=30)
        calls.append(len(shapes))
    assert calls[0] == calls[1] > 2


def test_no_gradients_are_kept(prompts: list[list[int]]):
    assert not score(model_of("gpt2"), prompts, verbalizer_of(WORDS["one token"]))[0].requires_grad


def test_left_pad_ends_rows_together():
    assert left_pad([[1], [2, 3, 4], [5, 6]], 9).tolist() == [[9, 9, 1], [2, 3, 4], [9, 5, 6]]


def test_model_gets_only_the_arguments_that_it_takes():
    ids, mask = torch.tensor([[9, 1, 2]]), torch.tensor([[0, 1, 1]])
    assert set(model_inputs(ids, mask, 1, {"input_ids"})) == {"input_ids", "attention_mask"}
    full = model_inputs(ids, mask, 2, {"position_ids", "logits_to_keep"})
    assert full["position_ids"].tolist() == [[0, 0, 1]], "counted from the first real token"
    assert full["logits_to_keep"] == 2
    assert "position_ids" not in forward_arguments(model_of("bloom"))
    assert "logits_to_keep" in forward_arguments(model_of("gpt2"))
    assert forward_arguments(model_of("llama")) == set(inspect.signature(model_of("llama").forward).parameters)
