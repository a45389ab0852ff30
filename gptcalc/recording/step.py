"""The recording of one training step of a model's own code: each allocation and release in order, on tensors without data.

The engine really runs, so that the order of releases, the accumulation of gradients, recomputation and autocast's copies of weights come
out by themselves. Bytes.
"""

from __future__ import annotations

import gc
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gptcalc.recording.cuda import Autocast, as_cuda, grouped_matmul

WRAPPERS = ("_dynamo/eval_frame.py", "torch/_compile.py")
"""Files of torch whose functions stand between an operation and the mode that sees it."""

ENGINE = "_engine_run_backward"
"""The function of torch.autograd.graph that calls the engine: an operation that it starts itself adds up gradients."""

FORWARD, BACKWARD, FIRST_UPDATE, UPDATE = "after_forward", "after_backward", "first_update", "update"
"""The places in a recording: what comes before the first is the forward pass, and so on. The first update makes the optimizer's states."""


class Event(NamedTuple):
    """`kind`: a storage that comes or goes; one that another is written into, which it replaces; a place in the step by name."""

    kind: Literal["allocate", "release", "replace", "mark"]
    storage: int = 0
    size: int = 0
    name: str = ""  # of a mark; of an allocation the operation
    module: str = ""
    replaced: int = 0


@dataclass
class Recording:
    """`parameters` and `buffers` in bytes, in order; `gradients` are the storages of the trained parameters' gradients."""

    parameters: list[int]
    buffers: list[int]
    inputs: int
    events: list[Event]
    gradients: set[int]


class Recorder(TorchDispatchMode):
    """Writes down every storage that an operation makes, and, before the next one makes its own, those that are gone."""

    def __init__(self, permanent: set[int], modules: list[str]) -> None:
        super().__init__()
        self.events: list[Event] = []
        self._permanent = permanent
        self._modules = modules
        self._live: dict[int, tuple[StorageWeakRef, int]] = {}
        self._sum: tuple[int, tuple[int, ...]] | None = None
        self._made = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        summing = func is torch.ops.aten.add.Tensor and _caller() == ENGINE
        self._swept()
        if func is torch.ops.aten._grouped_mm.default and args[0].dtype != torch.bfloat16:
            made = grouped_matmul(args[0], args[1], args[2] if len(args) > 2 else None)
        else:
            made = func(*args, **(kwargs or {}))
        for one in tree_leaves(made):
            if isinstance(one, torch.Tensor):
                self._seen(one, func.name())
        if summing:
            terms = [self._live[key][1] for one in args[:2] if (key := one.untyped_storage()._cdata) in self._live]
            self._sum = (self._live[made.untyped_storage()._cdata][1], tuple(terms))
        return made

    def mark(self, name: str) -> None:
        """A place in the step, once everything that nothing holds is gone."""
        gc.collect()
        self._swept()
        self.events.append(Event("mark", name=name))

    def storage(self, tensor: Any) -> int:
        """The number of a living tensor's storage."""
        return self._live[tensor.untyped_storage()._cdata][1]

    def _seen(self, tensor: Any, operation: str) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._live or key in self._permanent:
            return
        self._live[key] = (StorageWeakRef(storage), self._made)
        module = self._modules[-1] if self._modules else ""
        self.events.append(Event("allocate", self._made, storage.nbytes(), operation, module))
        self._made += 1

    def _swept(self) -> None:
        gone = [key for key, (reference, _) in self._live.items() if reference.expired()]
        numbers = [self._live.pop(key)[1] for key in gone]
        if self._sum is not None:
            total, terms = self._sum
            self._sum = None
            written = next((term for term in terms if term in numbers), None)
            if written is not None:  # without a mode that looks on, the engine writes the sum into the term that nobody else holds
                numbers.remove(written)
                last = next(at for at in range(len(self.events) - 1, -1, -1) if self.events[at].storage == total)
                self.events[last] = self.events[last]._replace(kind="replace", replaced=written)
        self.events += [Event("release", number) for number in numbers]


def _caller() -> str:
    """The function that started the operation which is being recorded, past what torch wraps around a mode."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_code.co_filename.endswith(WRAPPERS):
        frame = frame.f_back
    return frame.f_code.co_name


def record_step(
    config: Any, *, dtype: Any, autocast: Any, batch: int, seq: int, recompute: bool, optimizer: Callable[[list[Any]], Any] | None
) -> Recording:
    """One training step of the causal language model that transformers makes of a config, labels given, and a second update after it.

    `dtype` of the weights; `autocast` to a type, or None; B sequences of T tokens; `recompute`: each block is checkpointed; `optimizer`
    makes one of its parameters, or None: its updates are not recorded.

    Raises whatever the model's code raises on tensors without data.
    """
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(as_cuda())
        if (
            autocast is not None
        ):  # of devices without data only a fake CPU has autocast; layer norms of 16-bit models are CUDA's on meta alone
            stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        device = "meta" if autocast is None else "cpu"
        with torch.device(device):
            model = _model(config, dtype)
            tokens = torch.zeros((batch, seq), dtype=torch.int64)
        widened = Autocast if autocast is not None else nullcontext
        if recompute:
            options = {"use_reentrant": False, "context_fn": lambda: (nullcontext(), widened())}
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=options)
        parameters, buffers = list(model.parameters()), list(model.buffers())
        permanent = {one.untyped_storage()._cdata for one in (*parameters, *buffers, tokens)}
        modules = stack.enter_context(_named(model))
        recorder = stack.enter_context(Recorder(permanent, modules))
        with widened(), torch.autocast("cpu", dtype=autocast or torch.bfloat16, enabled=autocast is not None):
            output = model(tokens, labels=tokens, use_cache=False)
            loss = output.loss
            del output
        recorder.mark(FORWARD)
        loss.backward()
        del loss
        recorder.mark(BACKWARD)
        gradients = {recorder.storage(one.grad) for one in parameters if one.grad is not None}
        made = None if optimizer is None else optimizer(parameters)
        for place in (FIRST_UPDATE, UPDATE):
            if made is not None:
                made.step()
            recorder.mark(place)
        sizes = [[one.untyped_storage().nbytes() for one in held] for held in (parameters, buffers, [tokens])]
    return Recording(sizes[0], sizes[1], sizes[2][0], recorder.events, gradients)


def _model(config: Any, dtype: Any) -> Any:
    """The model, with one attention call where its code has one, else as transformers chooses."""
    import transformers

    build = transformers.AutoModelForCausalLM.from_config
    if config._attn_implementation is not None:
        return build(config, dtype=dtype).train()
    try:
        return build(config, dtype=dtype, attn_implementation="sdpa").train()
    except ValueError:  # of code that has no such call
        return build(config, dtype=dtype, attn_implementation="eager").train()


@contextmanager
def _named(model: Any) -> Iterator[list[str]]:
    """The names of the modules that run, the innermost last."""
    running: list[str] = []

    def enter(name: str) -> Any:
        return lambda *_: running.append(name)

    def leave(*_: Any) -> None:
        running.pop()

    handles = []
    for name, module in model.named_modules():
        handles += [module.register_forward_pre_hook(enter(name)), module.register_forward_hook(leave, always_call=True)]
    try:
        yield running
    finally:
        for handle in handles:
            handle.remove()
