"""gptcalc: parameters, FLOPs, memory, time and cost of GPT-style language models, exact and with the working shown.

>>> import gptcalc as gc
>>> gc.params(gc.model("gpt3-175b")).value
174604259328
"""

__version__ = "0.1.0"

TYPE_CHECKING = False  # type checkers take it for typing's, whose import would take longer than all the rest

if TYPE_CHECKING:
    from gptcalc.errors import GptcalcError
    from gptcalc.footprint.request import memory
    from gptcalc.node import Node
    from gptcalc.run.calibrate import calibrate
    from gptcalc.run.published import replicate
    from gptcalc.run.request import train
    from gptcalc.run.verify import verify
    from gptcalc.search.design import design
    from gptcalc.search.plan import plan
    from gptcalc.search.scale import scale
    from gptcalc.search.sweep import sweep
    from gptcalc.serve.answer import infer
    from gptcalc.spec.catalogue import names as models
    from gptcalc.spec.device import device_names as devices
    from gptcalc.spec.files import load_model as model
    from gptcalc.spec.model import ModelSpec
    from gptcalc.table.compare import compare
    from gptcalc.table.conventions import conventions
    from gptcalc.table.flops import flops
    from gptcalc.table.params import params

_HOMES = {
    "GptcalcError": "gptcalc.errors",
    "ModelSpec": "gptcalc.spec.model",
    "Node": "gptcalc.node",
    "calibrate": "gptcalc.run.calibrate",
    "compare": "gptcalc.table.compare",
    "conventions": "gptcalc.table.conventions",
    "design": "gptcalc.search.design",
    "devices": "gptcalc.spec.device:device_names",
    "flops": "gptcalc.table.flops",
    "infer": "gptcalc.serve.answer",
    "memory": "gptcalc.footprint.request",
    "model": "gptcalc.spec.files:load_model",
    "models": "gptcalc.spec.catalogue:names",
    "params": "gptcalc.table.params",
    "plan": "gptcalc.search.plan",
    "replicate": "gptcalc.run.published",
    "scale": "gptcalc.search.scale",
    "sweep": "gptcalc.search.sweep",
    "train": "gptcalc.run.request",
    "verify": "gptcalc.run.verify",
}

__all__ = [
    "GptcalcError",
    "ModelSpec",
    "Node",
    "__version__",
    "calibrate",
    "compare",
    "conventions",
    "design",
    "devices",
    "flops",
    "infer",
    "memory",
    "model",
    "models",
    "params",
    "plan",
    "replicate",
    "scale",
    "sweep",
    "train",
    "verify",
]


def __getattr__(name: str) -> object:
    """Imports a public name when it is first asked for, so that `import gptcalc` costs next to nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'gptcalc' has no attribute '{name}'")
    from importlib import import_module

    module, _, attribute = _HOMES[name].partition(":")
    value = getattr(import_module(module), attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
