"""The importance of a word is what the answer loses without it, in any script, for a bounded number of texts."""

import numpy as np
import pytest

from hf_sentiment_ft.label_words.attribution import word_importance
from hf_sentiment_ft.label_words.model import LabelWordModel, predict_probabilities

from .test_label_word_model import prepared


@pytest.fixture(scope="module")
def loaded() -> LabelWordModel:
    return LabelWordModel(*prepared())


def test_a_word_counts_as_much_as_the_probability_that_it_adds(loaded: LabelWordModel):
    words = word_importance(loaded, "a great  film\nindeed")
    assert [(word.start, word.end) for word in words] == [(0, 1), (2, 7), (9, 13), (14, 20)]
    without = ["great  film\nindeed", "a film\nindeed", "a great  indeed", "a great  film"]
    whole, *shorter = predict_probabilities(loaded, ["a great  film\nindeed", *without], batch_size=2)
    expected = [whole.max() - one[whole.argmax()] for one in shorter]
    np.testing.assert_allclose([word.importance for word in words], expected, atol=1e-6)
    other = word_importance(loaded, "a great  film\nindeed", label=int(whole.argmin()))
    np.testing.assert_allclose([word.importance for word in other], [-value for value in expected], atol=1e-6)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("很好 film", ["很", "好", "film"]),
        ("กำลังดู", ["กำ", "ลั", "ง", "ดู"]),
        ("🎬👨‍👩‍👧 ok", ["🎬👨‍👩‍👧", "ok"]),
        ("فيلم رائع", ["فيلم", "رائع"]),
        (" \n", []),
        ("", []),
    ],
)
def test_words_of_any_script(loaded: LabelWordModel, text: str, words: list[str]):
    assert [text[word.start : word.end] for word in word_importance(loaded, text)] == words


def test_long_texts_cost_no_more_and_only_what_is_read_counts(loaded: LabelWordModel):
    text = "a good film " * 100
    words = word_importance(loaded, text, max_passes=8)
    assert len(words) == 7
    assert words[0].start > len(text) / 2, "the model reads 64 tokens, and truncation removes the beginning"
    assert words[-1].end == len(text) - 1
    assert [word.end < after.start for word, after in zip(words, words[1:], strict=False)] == [True] * 6
    assert len(word_importance(loaded, "-" * 60, max_passes=8)) == 7, "a line of symbols is no single word"
