"""What decides a step on one stage: seconds, bytes and parameters, as numbers or as arrays that broadcast."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gptcalc.spec.recipe import PRECISIONS
from gptcalc.symbols import Quantity
from gptcalc.time.block import EXPERT, TENSOR
from gptcalc.time.collectives import network_of
from gptcalc.time.differing import Beyond, beyond_average
from gptcalc.time.kernels import ceil
from gptcalc.time.local import Local
from gptcalc.time.stage import Times, host_seconds, host_update, orthogonalised, times

if TYPE_CHECKING:
    from gptcalc.spec.runtime import Host
    from gptcalc.time.plan import StepPlan


@dataclass(frozen=True)
class Sending:
    """Seconds of one kind of collective in a micro-batch, all of them and those that nothing hides."""

    total: Quantity
    exposed: Quantity


@dataclass(frozen=True)
class Part:
    """The embedding, one block or the head in one micro-batch: seconds of the device, exposed collectives included, and of the processor;
    `kinds`: seconds of its kernels by kind, all phases together."""

    forward: Quantity
    backward: Quantity
    recompute: Quantity
    host_forward: Quantity
    host_backward: Quantity
    parameters: Quantity
    kinds: Mapping[str, Quantity]
    tensor: Sending
    expert: Sending

    @property
    def both(self) -> Quantity:
        """Seconds forward and backward, without what is computed again."""
        return self.forward + self.backward

    @property
    def host(self) -> Quantity:
        return self.host_forward + self.host_backward


@dataclass(frozen=True)
class Attention:
    """Seconds of a block's attention cores, and how often a block computes its own again."""

    forward: Quantity
    backward: Quantity
    recompute: Quantity
    again: Quantity


@dataclass(frozen=True)
class Stage:
    """A stage of `layers` blocks. `experts`: parameters of a block that few ranks have copies of; `hidden_state` and `keys_and_values`:
    bytes of a micro-batch's; `token_embedding`: parameters; `products`, `host_update`: seconds of the optimizer's matmuls and processor;
    `clock`: of kernels that are not matmuls, as a share of the full one."""

    embedding: Part
    block: Part
    head: Part
    experts: Quantity
    attention: Attention
    hidden_state: Quantity
    keys_and_values: Quantity
    token_embedding: Quantity
    products: Quantity
    host_update: Quantity
    clock: Quantity
    beyond: Beyond


def stage_of(plan: "StepPlan", one: Local, layers: Quantity, *, alone: bool) -> Stage:
    """What decides a step, of one stage of `layers` blocks; `alone`: no other device is waited for.

    Units: seconds, bytes, parameters.   Source: `stage`.
    """
    from gptcalc.spec.runtime import load_runtime

    layout = plan.recipe.layout
    net, host = network_of(plan.cluster, plan.device, reached=plan.stack.network_share), load_runtime(plan.recipe.runtime).host
    measured = times(one, net, plan.stack, layers, layout, alone=alone)
    w, every = one.work, plan.recipe.checkpoint_every
    cores = {phase: sum(k.seconds(w.chip, measured.clock) for k in one.of("block", phase) if k.path.endswith("/core")) for phase in CORES}
    again = 0 if plan.recipe.recompute == "none" else ceil(layers, every) / layers if every > 1 else 1
    compute = PRECISIONS[plan.recipe.precision].compute
    kinds = [kind for _, kind in w.shape.blocks]
    widths = sum(kind.n_layer * (kind.d_kv + kind.d_value) for kind in kinds) / sum(kind.n_layer for kind in kinds)
    return Stage(
        embedding=_part(one, measured, host, "embedding", layers),
        block=_part(one, measured, host, "block", layers),
        head=_part(one, measured, host, "head", layers),
        experts=one.experts,
        attention=Attention(**cores, again=again),
        hidden_state=compute * w.batch * w.seq * w.shape.d_model,
        keys_and_values=compute * w.batch * w.seq * widths,
        token_embedding=w.shape.vocab_size * w.shape.d_embedding,
        products=orthogonalised(one, layers, measured.clock),
        host_update=host_update(one, host, layers),
        clock=measured.clock,
        beyond=beyond_average(one, measured, plan.model.layers, layout) if plan.model.layers else Beyond(),
    )


CORES = ("forward", "backward", "recompute")


def _part(one: Local, measured: Times, host: "Host | None", name: str, layers: Quantity) -> Part:
    seconds = {phase: measured.compute[name, phase] + measured.waiting[name, phase] for phase in CORES}
    return Part(
        **seconds,
        host_forward=host_seconds(one, host, name, "forward", layers),
        host_backward=host_seconds(one, host, name, "backward", layers),
        parameters=one.parameters[name],
        kinds={kind: own for (part, kind), own in measured.kinds.items() if part == name},
        tensor=Sending(measured.total[name, TENSOR], measured.exposed[name, TENSOR]),
        expert=Sending(measured.total[name, EXPERT], measured.exposed[name, EXPERT]),
    )
