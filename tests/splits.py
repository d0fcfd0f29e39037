"""Splits as a run loads them, and what is said of those that it refuses."""

from typing import Any

import pytest

from hf_sentiment_ft.config.arguments import DataArguments
from hf_sentiment_ft.data.splits import LabelledSplits, load_splits
from hf_sentiment_ft.errors import UsageError


def load(seed: int = 0, **given: Any) -> LabelledSplits:
    return load_splits(DataArguments(**given), seed)


def refusal(**given: Any) -> str:
    with pytest.raises(UsageError) as error:
        load(**given)
    return str(error.value)


def texts(data: LabelledSplits, split: str) -> list[str]:
    return data.splits[split]["text"][:]
