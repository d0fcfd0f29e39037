"""A device that is not the CPU, on the CPU: its tensors refuse to be used together with those of the CPU.

They are tensors of the CPU under another type. Every call of torch goes by `OtherDevice`, which looks at what is given.
"""

import sys
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only

OTHER = torch.device("xpu", 0)  # any that torch knows, and that is not there
CPU = torch.device("cpu")

GIVES_DEVICE = Tensor.device.__get__  # type: ignore[attr-defined]
MOVES = (Tensor.to, Tensor.cpu)
TO_NUMPY = (Tensor.numpy, Tensor.__array__)
READS = (Tensor.item, Tensor.tolist, Tensor.__int__, Tensor.__float__, Tensor.__bool__, Tensor.__index__)
READS += (Tensor.nonzero, torch.nonzero, Tensor.masked_select, torch.masked_select, torch.equal, torch.allclose)
INDEXED = (Tensor.__getitem__, Tensor.__setitem__)


class OtherTensor(Tensor):
    """A tensor on the other device."""


class OtherDevice(TorchFunctionMode):
    """Where the other device is there.

    Attributes:
        reads: Calls that wait for the device to have computed something, as "module: function".
        copies: Calls that bring what is on the CPU to the device.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[str] = []
        self.copies: list[str] = []

    def __torch_function__(
        self, function: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given = tree_leaves([args, kwargs])
        tensors = [one for one in given if isinstance(one, Tensor)]
        there = any(isinstance(one, OtherTensor) for one in tensors)
        if function == GIVES_DEVICE:
            return OTHER if there else CPU
        asked = CPU if function == Tensor.cpu else next(filter(None, map(_device, given)), None)
        place = asked or (OTHER if there else CPU)
        name = f"{sys._getframe(1).f_globals['__name__']}: {function.__name__}"
        if there and function not in MOVES:
            if function in TO_NUMPY:
                raise TypeError(f"{name}: can't convert a tensor on {OTHER} to numpy. Use Tensor.cpu() first.")
            # As on GPUs, single numbers may be on the CPU.
            if strangers := [list(one.shape) for one in tensors if not isinstance(one, OtherTensor) and one.dim()]:
                raise RuntimeError(f"{name}: expected all tensors on {OTHER}, but on the CPU there are {strangers}")
        by_mask = function in INDEXED and any(one.dtype == torch.bool for one in tensors[1:])
        if there and (function in READS or by_mask or place == CPU):
            self.reads.append(name)
        if place == OTHER and not there and (tensors or function is torch.tensor):
            self.copies.append(name)
        args, kwargs = tree_map_only(
            (torch.device, str), lambda one: CPU if _device(one) else one, (args, kwargs or {})
        )
        with torch._C.DisableTorchFunctionSubclass():
            return tree_map_only(Tensor, lambda one: _put(one, place), function(*args, **kwargs))


def _device(given: Any) -> torch.device | None:
    if isinstance(given, str):
        return torch.device(given) if given in ("cpu", "xpu", "xpu:0") else None
    return given if isinstance(given, torch.device) else None


def _put(tensor: Tensor, place: torch.device) -> Tensor:
    kind = OtherTensor if place == OTHER else Tensor
    return tensor if isinstance(tensor, OtherTensor) == (place == OTHER) else tensor.as_subclass(kind)


def move(model: nn.Module) -> None:
    """Put weights and buffers on the other device; those that are tied stay so."""
    moved: dict[int, Any] = {}
    for module in model.modules():
        for name, weight in module._parameters.items():
            if weight is not None:
                there = nn.Parameter(weight.detach().as_subclass(OtherTensor), weight.requires_grad)
                module._parameters[name] = moved.setdefault(id(weight), there)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = moved.setdefault(id(buffer), buffer.as_subclass(OtherTensor))
