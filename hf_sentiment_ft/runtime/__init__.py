"""Set up what a command runs on: the device, the processes, and the output folder."""

from .device import choose_precision
from .distributed import first_process_first, on_first_process, shutdown
from .output_dir import check_output_dir, clear_output_dir
from .start import log_to_console, start

__all__ = [
    "check_output_dir",
    "choose_precision",
    "clear_output_dir",
    "first_process_first",
    "shutdown",
    "log_to_console",
    "on_first_process",
    "start",
]
