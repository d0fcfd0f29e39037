"""A Trainer whose runs can be killed at any moment and resumed with the same result."""

import logging
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate.data_loader import prepare_data_loader
from safetensors import SafetensorError
from torch.utils.data import DataLoader
from transformers import PrinterCallback, ProgressCallback, Trainer

from ..data.sampling import EpochSampler, StreamedRows, add_blank_row
from ..errors import Diverged, RunError, explain, system_fault
from .checkpoints import UNFINISHED, delete_old_checkpoints, finish_checkpoint
from .interruption import SaveOnSignal
from .progress import RunProgress

logger = logging.getLogger(__name__)


def diverged(symptom: str) -> Diverged:
    """Return the error that ends a run whose weights have become useless."""
    return Diverged(
        f"{symptom}: training has diverged. Nothing was published. Lower --learning_rate or raise --warmup_steps. If "
        "--dtype is float16, use float32."
    )


class ResumableTrainer(Trainer):
    """Trainer that writes only complete checkpoints and can be stopped by a signal.

    The order of the rows does not depend on the number of processes.
    """

    def __init__(self, *, run: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Set up saving.

        Args:
            run: Return value of `describe_run`, stored in each checkpoint.
            **kwargs: Arguments of Trainer.
        """
        self.run = run or {}
        self.epoch_sampler: EpochSampler | None = None
        self._saving = False
        kwargs["args"].logging_nan_inf_filter = False  # it would hide a NaN loss
        super().__init__(**kwargs)
        self.add_callback(SaveOnSignal())
        if self.pop_callback(ProgressCallback) or self.pop_callback(PrinterCallback):  # notebooks keep their table
            self.add_callback(RunProgress(bars=not self.args.disable_tqdm))

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Extend Trainer's logging, on every process, to stop a run that has diverged.

        Raises:
            RunError: If a loss or the gradient's norm is infinite or NaN.
        """
        super().log(logs, start_time)
        scaled = self.args.fp16  # overflows are normal in fp16: the step is skipped and the scale is lowered
        for name in ("loss", "eval_loss") if scaled else ("loss", "grad_norm", "eval_loss"):
            if not math.isfinite(logs.get(name, 0.0)):
                raise diverged(f"{name} is {logs[name]} at step {self.state.global_step}")

    def get_train_dataloader(self) -> Any:
        """Build Trainer's dataloader, with the rows in an order that is independent of the number of processes."""
        rows = self.train_dataset
        if isinstance(rows, StreamedRows):
            return self._share_out(rows)
        if self.args.world_size > 1:
            rows = add_blank_row(rows)
        size = self._train_batch_size
        return self._get_dataloader(rows, "Training", size, sampler_fn=self._get_train_sampler, is_training=True)

    def _share_out(self, rows: StreamedRows) -> Any:
        """Build a dataloader whose global batches are read by the first process only and dispatched by Accelerate.

        Accelerate can only dispatch tensors, so everything else is left out of the batches.
        """
        parts, device = self.args.world_size, self.accelerator.device

        def collate(batch: list[dict[str, Any]]) -> dict[str, Any]:
            return {name: value for name, value in self.data_collator(batch).items() if torch.is_tensor(value)}

        loader = DataLoader(rows, self._train_batch_size * parts, collate_fn=collate)
        return prepare_data_loader(loader, device, split_batches=True, put_on_device=True, dispatch_batches=True)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        strategy, args = self.args.train_sampling_strategy, self.args
        if strategy not in ("random", "group_by_length"):
            return super()._get_train_sampler(self.train_dataset)
        in_parallel = self._train_batch_size * args.world_size
        self.epoch_sampler = EpochSampler(
            num_rows=len(self.train_dataset),
            lengths=self.train_dataset["length"][:] if strategy == "group_by_length" else None,
            global_batch=in_parallel * args.gradient_accumulation_steps,
            multiple=in_parallel if args.world_size > 1 and not args.dataloader_drop_last else 1,
            seed=args.seed if args.data_seed is None else args.data_seed,
        )
        return self.epoch_sampler

    def _run_epoch(self, *, epoch: int, **kwargs: Any) -> None:
        if self.state.global_step >= self.state.max_steps:  # killed after the last step; Trainer would do another one
            self.control.should_training_stop = True
            return
        # Trainer and Accelerate do not pass the epoch to a sampler whose first batches are skipped on resuming.
        if self.epoch_sampler is not None:
            self.epoch_sampler.epoch = epoch
        super()._run_epoch(epoch=epoch, **kwargs)

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Do not warn about tied output layers, which are saved once and only look missing."""
        tied = getattr(self.model, "all_tied_weights_keys", {})
        missing = [name for name in load_result.missing_keys if name not in tied]
        super()._issue_warnings_after_load(load_result._replace(missing_keys=missing))

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """Extend Trainer's saving to save tied output layers only once; FSDP and DeepSpeed gather a copy of each."""
        tied = getattr(self.model, "all_tied_weights_keys", {})
        if state_dict is not None:
            state_dict = {name: value for name, value in state_dict.items() if tied.get(name) not in state_dict}
        super()._save(output_dir, state_dict)

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._unfinished) if self._saving else super()._get_output_dir(trial)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write a checkpoint under a temporary name, rename it once it is complete, and then delete older ones.

        Raises:
            RunError: If the training loss is not finite, or the checkpoint cannot be written; the last good one is
                kept.
        """
        state, output_dir = self.state, Path(str(self.args.output_dir))
        if not self.accelerator.reduce(self._tr_loss.detach().clone()).isfinite():
            raise diverged(f"the loss is not finite at step {state.global_step}, so no checkpoint of it was saved")
        name = f"checkpoint-{state.global_step}"
        self._clear_unfinished()
        self._saving = True
        with self._writing(name):
            super()._save_checkpoint(model, trial)
        self._saving = False
        if state.best_global_step == state.global_step:
            state.best_model_checkpoint = str(output_dir / name)
        self.accelerator.wait_for_everyone()
        if self.is_world_process_zero():
            with self._writing(name):
                state.save_to_json(str(self._unfinished / name / "trainer_state.json"))
                finish_checkpoint(self._unfinished / name, output_dir / name, self.run, self.args.save_only_model)
            delete_old_checkpoints(output_dir / name, state.best_model_checkpoint, self.args.save_total_limit)
        self.accelerator.wait_for_everyone()

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Extend Trainer's saving so that the final model, too, is first written under a temporary name.

        Args:
            output_dir: Folder to save to, as in Trainer; None for the output folder of the run.
            _internal_call: As in Trainer.
        """
        if output_dir is not None:
            super().save_model(output_dir, _internal_call)
            return
        self._clear_unfinished()
        with self._writing("the model"):
            super().save_model(str(self._unfinished), _internal_call=True)
        self.accelerator.wait_for_everyone()
        if self.is_world_process_zero():
            for path in self._unfinished.iterdir():
                path.replace(self._unfinished.parent / path.name)
            self._unfinished.rmdir()
        self.accelerator.wait_for_everyone()

    @property
    def _unfinished(self) -> Path:
        return Path(str(self.args.output_dir), UNFINISHED)

    def _clear_unfinished(self) -> None:
        if self.is_world_process_zero():
            shutil.rmtree(self._unfinished, ignore_errors=True)
        self.accelerator.wait_for_everyone()

    @contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        """Explain in one sentence why something could not be written, and leave no incomplete files behind."""
        try:
            yield
        except (OSError, RuntimeError, SafetensorError) as error:  # raised by Python, torch, and safetensors
            shutil.rmtree(self._unfinished, ignore_errors=True)
            if not isinstance(error, OSError) and system_fault(error):  # such as out of memory; not a disk error
                raise
            raise RunError(
                f"{what} could not be written to {self.args.output_dir}: {explain(error)}. Earlier checkpoints "
                "are intact. Free disk space or fix the permissions, then resume with --resume_from_checkpoint true."
            ) from error
