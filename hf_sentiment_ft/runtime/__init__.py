"""Set up what a command runs on: the device, the other processes, and the output folder."""

from .device import choose_microbatch, choose_precision
from .distributed import first_process_first, on_first_process, shutdown
from .output_dir import check_output_dir, clear_output_dir
from .start import start

__all__ = [
    "check_output_dir",
    "choose_microbatch",
    "choose_precision",
    "clear_output_dir",
    "first_process_first",
    "shutdown",
    "on_first_process",
    "start",
]
