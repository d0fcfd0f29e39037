"""Print the versions, the device and the settings that a bug report needs.

python -m hf_sentiment_ft.env
"""

import argparse
import os
import platform
from importlib.metadata import PackageNotFoundError, version

from . import __version__

PACKAGES = (
    *("torch", "transformers", "accelerate", "datasets", "tokenizers", "huggingface_hub", "evaluate", "scikit-learn"),
    *("peft", "deepspeed", "bitsandbytes"),
)
# Settings that change what a run does. Tokens are none of them.
SETTINGS = (
    *("HF_HOME", "HF_HUB_OFFLINE", "HF_ENDPOINT", "HF_HUB_CACHE", "HF_DATASETS_CACHE", "CUDA_VISIBLE_DEVICES"),
    *("OMP_NUM_THREADS", "ACCELERATE_CONFIG_FILE", "TOKENIZERS_PARALLELISM"),
)


def environment() -> dict[str, str]:
    """Return what a bug report needs, by name: versions, device, threads, and environment variables that are set."""
    import joblib
    import torch

    found = {"hf_sentiment_ft": __version__, "Python": platform.python_version(), "system": platform.platform()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    found["GPUs"] = ", ".join(gpus) or "none"
    cores = joblib.cpu_count(only_physical_cores=True)
    found["CPU"] = f"{torch.backends.cpu.get_cpu_capability()}, {cores} cores for this process"
    return found | {name: os.environ[name] for name in SETTINGS if name in os.environ}


def main() -> None:
    """Print one line for each item."""
    argparse.ArgumentParser(prog="python -m hf_sentiment_ft.env", description=__doc__).parse_args()
    for name, value in environment().items():
        print(f"- {name}: {value}")


if __name__ == "__main__":
    main()
