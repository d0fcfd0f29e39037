"""Set up what a command runs on: the device, the processes, and the output folder."""

from .device import choose_precision, return_freed_memory
from .distributed import connect, first_process_first, from_first_process, greatest, on_first_process, shutdown
from .output_dir import begin_run, check_output_dir, refuse_foreign_files
from .run_files import (
    CLASSIFIER_FILES,
    COMPARISON,
    EVALUATION_FILES,
    REPORT_FILES,
    RUN_FILES,
    SEARCH_FILES,
    begin_files,
    copy_run,
    record_files,
)
from .start import check_caches, log_to_console, start

__all__ = [
    "CLASSIFIER_FILES",
    "COMPARISON",
    "EVALUATION_FILES",
    "REPORT_FILES",
    "RUN_FILES",
    "SEARCH_FILES",
    "begin_files",
    "begin_run",
    "check_caches",
    "check_output_dir",
    "choose_precision",
    "connect",
    "copy_run",
    "first_process_first",
    "from_first_process",
    "greatest",
    "log_to_console",
    "on_first_process",
    "record_files",
    "refuse_foreign_files",
    "return_freed_memory",
    "shutdown",
    "start",
]
