"""What is kept in a model's config, and which threshold a target error gets."""

from pathlib import Path

import numpy as np
import pytest
from transformers import AutoConfig, GPT2Config

from hf_sentiment_ft.errors import UsageError
from hf_sentiment_ft.label_words.calibration import Calibration

THRESHOLDS = {"0.05": 0.9, "0.1": 0.7, "0.2": 0.0}


def test_it_is_the_same_after_a_round_trip(tmp_path: Path):
    config = GPT2Config()
    assert Calibration.saved_in(config) == Calibration(), "as in models of earlier versions"
    Calibration(np.array([0.5, -0.5]), 1.25, THRESHOLDS).store(config)
    config.save_pretrained(tmp_path)
    assert Calibration.saved_in(AutoConfig.from_pretrained(tmp_path)) == Calibration([0.5, -0.5], 1.25, THRESHOLDS)


@pytest.mark.parametrize(("target", "expected"), [(0.05, 0.9), (0.1, 0.7), (0.07, 0.9), (0.5, 0.0)])
def test_the_threshold_of_the_next_stricter_target_counts(target: float, expected: float, caplog):
    assert Calibration(thresholds=THRESHOLDS).threshold(target) == expected
    assert ("There is no threshold for --target_error" in caplog.text) == (str(target) not in THRESHOLDS)


@pytest.mark.parametrize(
    ("thresholds", "message"),
    [
        (THRESHOLDS, "--target_error is 0.01, which .* the model has thresholds for 0.05, 0.1, 0.2. Raise"),
        ({}, "the model has none. Raise --target_error, train with more validation rows, or use --min_probability"),
        (None, "the model has no thresholds, .* Use --min_probability"),
    ],
)
def test_without_a_strict_enough_threshold_it_says_what_to_do(thresholds, message: str):
    with pytest.raises(UsageError, match=message):
        Calibration(thresholds=thresholds).threshold(0.01)
