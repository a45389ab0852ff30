"""gptcalc: parameters, FLOPs, memory, time and cost of GPT-style language models, exact and with the working shown.

>>> import gptcalc as gc
>>> gc.params(gc.model("gpt3-175b")).value
174604259328
"""

__version__ = "0.1.0"

TYPE_CHECKING = False  # type checkers take it for typing's, whose import would take longer than all the rest

if TYPE_CHECKING:
    from gptcalc.errors import GptcalcError
    from gptcalc.formulas.compare import compare
    from gptcalc.formulas.conventions import conventions
    from gptcalc.formulas.flops import flops
    from gptcalc.formulas.inference.answer import infer
    from gptcalc.formulas.memory.request import memory
    from gptcalc.formulas.node import Node
    from gptcalc.formulas.params import params
    from gptcalc.formulas.run.published import replicate
    from gptcalc.formulas.run.request import train
    from gptcalc.reference.verify import verify
    from gptcalc.search.scale import scale
    from gptcalc.spec.catalogue import names as models
    from gptcalc.spec.device import device_names as devices
    from gptcalc.spec.files import load_model as model
    from gptcalc.spec.model import ModelSpec

_HOMES = {
    "GptcalcError": "gptcalc.errors",
    "ModelSpec": "gptcalc.spec.model",
    "Node": "gptcalc.formulas.node",
    "compare": "gptcalc.formulas.compare",
    "conventions": "gptcalc.formulas.conventions",
    "devices": "gptcalc.spec.device:device_names",
    "flops": "gptcalc.formulas.flops",
    "infer": "gptcalc.formulas.inference.answer",
    "memory": "gptcalc.formulas.memory.request",
    "model": "gptcalc.spec.files:load_model",
    "models": "gptcalc.spec.catalogue:names",
    "params": "gptcalc.formulas.params",
    "replicate": "gptcalc.formulas.run.published",
    "scale": "gptcalc.search.scale",
    "train": "gptcalc.formulas.run.request",
    "verify": "gptcalc.reference.verify",
}

__all__ = [
    "GptcalcError",
    "ModelSpec",
    "Node",
    "__version__",
    "compare",
    "conventions",
    "devices",
    "flops",
    "infer",
    "memory",
    "model",
    "models",
    "params",
    "replicate",
    "scale",
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
