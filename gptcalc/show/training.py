"""What `memory` says of a training step: the verdict first, then when it is fullest, what stands beside it, and what would change it."""

from collections.abc import Container, Mapping
from typing import Any

from gptcalc.footprint.answer import TrainingMemory
from gptcalc.footprint.fit import Verdict
from gptcalc.show.layout import layout
from gptcalc.show.storage import aside
from gptcalc.show.table import Verdict as Color
from gptcalc.show.table import gauge
from gptcalc.spec.legality import has_experts
from gptcalc.spec.model import ModelSpec
from gptcalc.units import binary

PHASES = {
    "before_forward": "before the forward pass",
    "after_forward": "after the forward pass",
    "forward": "in the forward pass",
    "backward": "in the backward pass",
    "optimizer": "in the optimizer step",
}
LEAST = "everything fused that can be, the least that any code could hold: 48 measured runs of real code took 1.0 to 8.1 times as much"


def headline(model: ModelSpec, answer: TrainingMemory, inputs: Mapping[str, Any], asked: Container[str]) -> str:
    """The verdict on a device and, in a second line, the cheapest change or the largest batch; without a device the peak."""
    what, why = _what(model, answer, inputs), _why(model, inputs, asked)
    verdict = answer.verdict
    if verdict is None:
        closing = (f" ({why})" if why else "") + aside(model)
        return f"{model.name}: {_size(answer)} at the peak, {_when(answer)}; {what}, {inputs['precision']}, {inputs['runtime']}{closing}"
    calibrated = "" if answer.device is None or answer.device.cuda else ", uncalibrated"
    first = f"{model.name} on {verdict.device}: {_said(answer, verdict)}{calibrated} ({what}{': ' if why else ''}{why}){aside(model)}"
    second = _second(verdict, answer, "batch" in asked)
    return f"{first}\n{second}" if second else first


def verdict(answer: TrainingMemory) -> Color:
    """Green fits with room to spare; yellow fits tightly, is uncalibrated or cannot be said; red does not fit."""
    found = answer.verdict
    if found is None:
        return ""
    if found.fits is False:
        return "no"
    calibrated = answer.device is None or answer.device.cuda
    return "yes" if found.fits and _loosely(answer, found) and calibrated else "beware"


def filled(answer: TrainingMemory) -> str:
    """The gauge of the device; empty where none is asked about."""
    if answer.verdict is None:
        return ""
    return gauge(answer.value, answer.verdict.room, at_least=bool(answer.training.lower_bound or answer.training.unsettled))


def _what(model: ModelSpec, answer: TrainingMemory, inputs: Mapping[str, Any]) -> str:
    base = answer.recipe.base
    method = "training" if base is None else f"{'QLoRA' if answer.recipe.qlora else 'LoRA'}, base in {base}"
    if answer.recipe.qlora and has_experts(model):  # bitsandbytes takes linear layers, which experts are not
        method += f", experts in {answer.recipe.unpacked}"
    return f"{method}, {inputs['batch']:,} × {inputs['seq']:,} tokens"


def _why(model: ModelSpec, inputs: Mapping[str, Any], asked: Container[str]) -> str:
    """What to know of a sequence that was not asked for."""
    if "seq" in asked or model.n_ctx <= inputs["seq"]:
        return ""
    trained = "as most of its training; " if model.training_seq else ""
    return f"{trained}give --seq for longer; the model allows {model.n_ctx:,}"


def _size(answer: TrainingMemory) -> str:
    if answer.training.lower_bound:
        return f"at least {binary(answer.value)}"
    if answer.training.unsettled:
        return f"{binary(answer.value)} to {binary(answer.training.high)}"
    return binary(answer.value)


def _said(answer: TrainingMemory, verdict: Verdict) -> str:
    """`does not fit, 174.8 of 78.8 GiB`."""
    of = _amounts(int(answer.value), verdict.room)
    if answer.training.lower_bound:
        return f"cannot say, at least {of}" if verdict.fits is None else f"does not fit, at least {of}"
    if verdict.fits is None:
        return f"cannot say, {binary(answer.value)} to {_amounts(int(answer.training.high), verdict.room)}"
    if verdict.fits:
        return f"fits{'' if _loosely(answer, verdict) else ', tightly'}, {of}"
    return f"does not fit, {of}"


def _amounts(peak: int, room: int) -> str:
    """Two amounts in GiB, with as many digits as tell them apart.

    >>> _amounts(187652000000, 84610000000), _amounts(25769803776, 25770000000)
    ('174.8 of 78.8 GiB', '24.0000 of 24.0002 GiB')
    """
    for digits in range(1, 10):
        left, right = (f"{size / 2**30:,.{digits}f}" for size in (peak, room))
        if peak == room or (left != right and float(left.replace(",", ""))):
            break
    return f"{left} of {right} GiB"


def _loosely(answer: TrainingMemory, verdict: Verdict) -> bool:
    """Whether there is room for all that the allocator may reserve."""
    return bool(answer.apart.high + answer.apart.apart <= verdict.memory)


def _second(verdict: Verdict, answer: TrainingMemory, batch_asked: bool) -> str:
    if verdict.fits is False:
        return _change(verdict, answer)
    if batch_asked or verdict.largest_batch <= 1 or verdict.largest_peak is None:
        return ""
    if verdict.fits is None:
        return f"batch 1; at most --batch {verdict.largest_batch:,} could fit, at least {binary(verdict.largest_peak)}"
    return f"batch 1; --batch {verdict.largest_batch} also fits, {binary(verdict.largest_peak)}"


def _change(verdict: Verdict, answer: TrainingMemory) -> str:
    change = verdict.change
    if change is None:
        return "no change of one or two options makes it fit: divide the model over more devices, --tp and --pp"
    least = "at least " if answer.training.lower_bound else ""
    what = f"{change.option} ({change.price}): {least}{binary(change.peak)}"
    if change.another_method:
        return f"no change of recipe or layout alone makes it fit; another method of training {'may' if least else 'does'}: {what}"
    return f"the cheapest change that {'may make' if least else 'makes'} it fit: {what}"


def _when(answer: TrainingMemory) -> str:
    return f"{PHASES[answer.training.peak]} (at: {answer.training.when[answer.training.peak]})"


def notes(answer: TrainingMemory, inputs: Mapping[str, Any]) -> list[str]:
    """What stands below the breakdown of the peak."""
    phases = answer.training.phases
    apart, stage, recipe = answer.apart, answer.training.role, answer.recipe
    found = [] if (cut := layout(inputs)) == "one device" else [f"layout: {cut}, of which this is one device"]
    if answer.verdict is not None:
        found.append(f"the peak is {_when(answer)}; {inputs['precision']}, {inputs['runtime']}, {inputs['optimizer']}")
    found.append("phases: " + ", ".join(f"{name.replace('_', ' ')} {binary(phases[name].value)}" for name in PHASES))
    if stage != "only":
        found.append(f"stage: {stage}, the one that needs most")
    if answer.training.lower_bound:
        found.append(f"{inputs['runtime']}: {LEAST}")
    if answer.training.unsettled:
        extra = binary(answer.training.unsettled)
        found.append(f"torch.compile may pad a vocabulary that is no multiple of 8, in a copy of the logits' gradient: up to {extra} more")
    if recipe.lora_rank is not None and recipe.precision in ("bf16", "fp16"):
        also = "" if recipe.adapter_precision else ", as where peft's autocast_adapter_dtype is off"
        found.append(f"adapters in {recipe.adapter_precision or recipe.precision}{also}")
    found.append(f"the allocator reserves about {binary(apart.likely)} (estimate; {binary(apart.low)} to {binary(apart.high)})")
    return [*found, *_apart(answer), *_verdict(answer)]


def _apart(answer: TrainingMemory) -> list[str]:
    """What the process takes beside what it allocates."""
    apart, device = answer.apart, answer.device
    if device is None or device.cuda:
        where = ", on an NVIDIA GPU" if device is None else ""
        context = binary(apart.context or 0)
        return [f"apart from it{where}: CUDA context {context}, two cuBLAS workspaces {binary(apart.workspace)}"]
    measured = f"uncalibrated: the bytes of PyTorch's CUDA caching allocator, measured on an H100; {device.name} has another allocator"
    return [measured] if device.kind == "cpu" else [measured, "apart from it: what the driver and runtime take beside is not known"]


def _verdict(answer: TrainingMemory) -> list[str]:
    verdict = answer.verdict
    if verdict is None:
        return ["next: --depth 3 (its parts), --device h100-80gb (does it fit?), --timeline (over time), --explain (each formula)"]
    room = f"{binary(verdict.room)} can be allocated on {verdict.device}"
    most = f"the largest batch that fits is {'at most ' if verdict.fits is None else ''}{verdict.largest_batch:,}"
    if verdict.fits:
        tight = "" if _loosely(answer, verdict) else ", tightly: unused segments may have to be given back"
        return [f"fits{tight}: {room}, {binary(verdict.left)} are left; {most}"]
    if verdict.fits is None:
        return [f"cannot say whether it fits: {room}, {_size(answer)} {'is' if answer.training.lower_bound else 'are'} needed; {most}"]
    lines = [f"does not fit: {room}, {'at least ' if answer.training.lower_bound else ''}{binary(-verdict.left)} too little"]
    if not verdict.weights_fit:
        lines.append("the weights alone do not fit")
    return [*lines, most] if verdict.largest_batch else lines
