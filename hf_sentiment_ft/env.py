"""Print the versions, the device and the settings that a bug report needs.

python -m hf_sentiment_ft.env
"""

import os
import platform
import re
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from . import __version__
from .config.parser import Parser
from .errors import errors_exit

PACKAGES = (
    *("torch", "transformers", "accelerate", "datasets", "tokenizers", "safetensors", "huggingface_hub", "hf-xet"),
    *("evaluate", "scikit-learn", "numpy", "pyarrow", "peft", "deepspeed", "bitsandbytes", "onnxruntime"),
)
# Settings that change what a run does. Tokens are none of them.
SETTINGS = (
    *("HF_HOME", "HF_HUB_OFFLINE", "HF_ENDPOINT", "HF_HUB_CACHE", "HF_DATASETS_CACHE", "HF_HUB_DISABLE_XET"),
    *("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT", "TRANSFORMERS_VERBOSITY", "CUDA_VISIBLE_DEVICES"),
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "ACCELERATE_CONFIG_FILE", "TOKENIZERS_PARALLELISM", "TRACKIO_SPACE_ID"),
    *("WORLD_SIZE", "NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME", "NO_COLOR"),
)


def environment() -> dict[str, str]:
    """Return what a bug report needs, by name: versions, device, threads, and environment variables that are set."""
    import joblib
    import psutil
    import torch
    from accelerate.commands.config import default_config_file
    from huggingface_hub import constants, get_token

    found = {"hf_sentiment_ft": __version__, "Python": platform.python_version(), "system": platform.platform()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    gpus = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    found["GPUs"] = ", ".join(f"{gpu.name} ({gpu.total_memory / 2**30:.0f} GiB)" for gpu in gpus) or "none"
    if gpus:
        found["CUDA"] = f"{torch.version.cuda}, compute capability {gpus[0].major}.{gpus[0].minor}"
    cores = joblib.cpu_count(only_physical_cores=True)
    special = [name for name in ("avx512_bf16", "amx_bf16") if name in _cpu_flags()]
    found["CPU"] = ", ".join([torch.backends.cpu.get_cpu_capability(), *special, f"{cores} cores for this process"])
    found["threads"] = f"{torch.get_num_threads()} (torch's default; the commands choose their own)"
    found["memory"] = f"{psutil.virtual_memory().total / 2**30:.0f} GiB"
    found["disk"] = f"{shutil.disk_usage('.').free / 2**30:.0f} GiB free in the working folder"
    found["Accelerate's default configuration"] = default_config_file if Path(default_config_file).is_file() else "none"
    found["Hub"] = f"{constants.ENDPOINT}, {'with' if get_token() else 'without'} a token"
    found |= {name: os.environ[name] for name in SETTINGS if name in os.environ}
    return {name: re.sub("//[^/@]*@", "//***@", value) for name, value in found.items()}  # a password in an address


def _cpu_flags() -> list[str]:
    """Return the instructions that Linux says the processor has; torch tells only the widest of them."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return next((line.split() for line in lines if line.startswith(("flags", "Features"))), [])


def build_parser() -> Parser:
    """Return the parser of this command, which has no flags."""
    return Parser("env", "Print the versions, the device and the settings that a bug report needs.")


def main() -> None:
    """Print one line for each item."""
    with errors_exit():
        build_parser().parse_args(sys.argv[1:])
        for name, value in environment().items():
            print(f"- {name}: {value}")


if __name__ == "__main__":
    main()
