"""Evaluate a model, compare it with baselines and with other models, and plot the results."""

from .baselines import ZeroShotBaseline
from .calibration import calibrate, fit_calibration, label_log_prior, predict_splits, prior_rows
from .findings import add_words, examine_run
from .predictions import compute_metrics, correct_rows, predict
from .report_page import save_report
from .results import Evaluation, add_results, compare, comparison_table, save_results, summary
from .seeds import compare_seeds

__all__ = [
    "add_words",
    "add_results",
    "calibrate",
    "compare",
    "compare_seeds",
    "comparison_table",
    "compute_metrics",
    "correct_rows",
    "Evaluation",
    "examine_run",
    "fit_calibration",
    "label_log_prior",
    "predict",
    "predict_splits",
    "prior_rows",
    "save_report",
    "save_results",
    "summary",
    "ZeroShotBaseline",
]
