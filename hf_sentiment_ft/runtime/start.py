"""Start of a command: logging, memory, time limits of the Hub, connections between processes, and caches."""

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..hub import limit_waiting
from .device import choose_microbatch, keep_freed_memory
from .distributed import check_engine, connect, first_process_first
from .output_dir import try_writing
from .threads import use_cpu_threads

if TYPE_CHECKING:
    from ..config.arguments import Arguments


def start(flags: "Arguments", command: str = "train") -> None:
    """Set up the process for training or evaluation, and refuse launch configurations that cannot work.

    Args:
        flags: Flags of the command.
        command: Name of the module that was started, for messages.

    Raises:
        UsageError: If the launch configuration cannot work, or a cache cannot be written to.
        RunError: If the processes cannot reach each other.
    """
    args = flags.training
    log_to_console(first_process=args.process_index == 0)
    if args.disable_tqdm or not flags.run.verbose:
        hide_progress_bars()
    if not flags.run.verbose:
        hide_warnings()
    if flags.run.keep_freed_memory:
        keep_freed_memory()
    if args.device.type == "cpu":
        use_cpu_threads(flags.run.num_cpu_threads)
    limit_waiting(flags.hub.hub_timeout)
    check_engine(args, command)
    connect(args)
    with first_process_first(args, "checking the caches"):
        check_caches(flags.model.model_name_or_path, flags.data.dataset_name)
    if command == "train":
        flags.run.max_tokens_per_microbatch = choose_microbatch(flags.run.max_tokens_per_microbatch, args)


def check_caches(model: str, dataset: str | None) -> None:
    """Refuse caches that cannot be written to, before the model or the data that is read through them is blamed.

    The Hub's cache may be read-only, as a shared one often is, if it contains what is needed.

    Args:
        model: Model to load: a path, or an id on the Hub.
        dataset: Dataset to load, likewise; None for files.

    Raises:
        UsageError: If the folder of a cache cannot be created or written to, or its disk is full.
    """
    import datasets
    from huggingface_hub import constants

    caches = {
        "HF_DATASETS_CACHE": datasets.config.HF_DATASETS_CACHE,
        "HF_METRICS_CACHE": os.environ.get("HF_METRICS_CACHE", os.path.join(constants.HF_HOME, "metrics")),
    }
    if not (
        constants.HF_HUB_OFFLINE or _is_local_or_cached("model", model) and _is_local_or_cached("dataset", dataset)
    ):
        caches["HF_HUB_CACHE"] = constants.HF_HUB_CACHE
    for variable, folder in caches.items():
        try:
            try_writing(Path(folder).expanduser())
        except OSError as error:
            raise UsageError(
                f"the cache folder {folder} cannot be written to: {error.strerror}. Set {variable}, or HF_HOME for all "
                "caches, to a folder that is writable and has free disk space."
            ) from error


def _is_local_or_cached(kind: str, name: str | None) -> bool:
    """Return whether a model or a dataset is in a local file, an installed package, or the Hub's cache."""
    from huggingface_hub import constants

    if name is None or name.startswith("package:") or os.path.exists(name):
        return True
    return os.path.isdir(os.path.join(constants.HF_HUB_CACHE, f"{kind}s--{name.replace('/', '--')}"))


def hide_progress_bars() -> None:
    """Hide the progress bars of the libraries, such as those of loading weights."""
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()


def hide_warnings() -> None:
    """Hide the warnings of the libraries, on how they are used here; their errors are shown."""
    import transformers

    transformers.logging.set_verbosity_error()
    for name in ("bitsandbytes", "deepspeed", "DeepSpeed", "torch.distributed"):
        logging.getLogger(name).setLevel(logging.ERROR)


def log_to_console(first_process: bool = True) -> None:
    """Show the log messages of this package on the first process, and only errors on the others."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("hf_sentiment_ft").setLevel(logging.INFO if first_process else logging.ERROR)
