"""What gptcalc calls unread is read nowhere in a class's source, and what is read there is understood or refused.

A class reads the fields that it declares, what its config's code takes from a file besides, and the names that its model's code takes
from the config.
"""

import ast
import dataclasses
import inspect
import sys
from collections.abc import Iterable, Iterator

import pytest
import transformers
from transformers import CONFIG_MAPPING, PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from gptcalc.spec.huggingface import FAMILIES
from gptcalc.spec.huggingface.family import ABSENT, Unread
from gptcalc.spec.huggingface.harmless import COMMON, GENERIC, HARMLESS

OF_ANY_CONFIG = {field.name for field in dataclasses.fields(PreTrainedConfig)} | set(dir(PreTrainedConfig))
ROPE = {"rope_parameters", "rope_scaling", "rope_theta", "partial_rotary_factor", "original_max_position_embeddings"}
NEVER_KEYS = {"embedding_size"}  # BERT's: lets a width through that the heads do not divide, and the split into heads then fails
NOT_KEYS = {
    "minicpm3": {"logits_scaling"},  # a property
    "solar_open": {"intermediate_size"},  # of an MLP that is given its width
    "kolibri1": {"intermediate_size"},
    "dbrx": {"moe_jitter_eps", "ffn_act_fn", "ffn_hidden_size", "moe_num_experts"},  # under ffn_config
    "deepseek_ocr2_text": {"head_dim"},  # the config's code writes the width over the heads there, whatever the file says
    "recurrent_gemma": {"head_dim", "layers_block_type"},  # so too; and what follows from block_types
    "lfm3": {"_rope_type_labels"},  # of the class
    "sarvam_mla": {"q_head_dim"},  # taken out of the file, and not read
    # Of the models of images and sound in the same module:
    "cosmos3_edge_text": {"layer_norm_eps"},
    "gemma4_text": {"standardize"},
    "gemma4_unified_text": {"vision_config"},
    "granite4_vision_text": {"text_config"},
    "llama4_text": {"text_config"},
    "qwen3_omni_moe_text": {"codebook_size", "num_quantizers"},
}
"""Names that stand in the source and are no keys of a file that change a model."""


def _of_config(node: ast.AST) -> bool:
    return (isinstance(node, ast.Name) and node.id == "config") or (isinstance(node, ast.Attribute) and node.attr == "config")


def _asked_for(node: ast.AST) -> Iterator[str]:
    """`config.name`, and `getattr(config, "name", default)`."""
    if isinstance(node, ast.Attribute) and _of_config(node.value):
        yield node.attr
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr") and len(node.args) > 1:
        name = node.args[1]
        if _of_config(node.args[0]) and isinstance(name, ast.Constant) and isinstance(name.value, str):
            yield name.value


def _from_file(node: ast.AST) -> Iterator[str]:
    """`kwargs.pop("name")`, and what a config's own code reads of itself."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("pop", "get", "setdefault"):
        base = node.func.value
        if isinstance(base, ast.Name) and base.id == "kwargs" and node.args and isinstance(node.args[0], ast.Constant):
            yield str(node.args[0].value)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr") and len(node.args) > 1:
        base, name = node.args[:2]
        if isinstance(base, ast.Name) and base.id == "self" and isinstance(name, ast.Constant):
            yield str(name.value)


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """As `ast.walk`, without the method that draws weights: it asks for the classes of every model in the module."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.FunctionDef) and child.name == "_init_weights"):
            yield from _walk(child)


def _reachable(definitions: dict[str, ast.AST], roots: Iterable[str]) -> Iterator[ast.AST]:
    """The definitions of a module that the roots use, and those that these use."""
    waiting, seen = list(roots), set()
    while waiting:
        name = waiting.pop()
        if name in definitions and name not in seen:
            seen.add(name)
            yield definitions[name]
            waiting += [node.id for node in _walk(definitions[name]) if isinstance(node, ast.Name)]


def _definitions(module: object) -> dict[str, ast.AST]:
    body = ast.parse(inspect.getsource(module)).body  # type: ignore[arg-type]
    return {node.name: node for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef)}


def read_by(model_type: str) -> set[str]:
    """The keys that the classes of a model type read."""
    kind = CONFIG_MAPPING[model_type]
    found = {field.name for field in dataclasses.fields(kind)} | set(kind.attribute_map)
    for base in kind.__mro__:
        if issubclass(base, PreTrainedConfig) and base is not PreTrainedConfig:
            source = ast.parse(inspect.cleandoc(inspect.getsource(base)))
            found |= {name for node in ast.walk(source) for name in _from_file(node)}
    if model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        model = getattr(transformers, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[model_type])
        definitions = _definitions(sys.modules[model.__module__])
        roots = [model.__name__]
    else:  # a language model within others
        name = kind.__module__.replace("configuration_", "modeling_")
        __import__(name)
        definitions = _definitions(sys.modules[name])
        roots = [
            name
            for name, node in definitions.items()
            if any(isinstance(part, ast.Name) and part.id == kind.__name__ for part in ast.walk(node)) and "Text" in name
        ]
    for definition in _reachable(definitions, roots):
        found |= {name for node in ast.walk(definition) for name in _asked_for(node)}
    return found - OF_ANY_CONFIG


KNOWN = sorted(set(FAMILIES) & set(CONFIG_MAPPING))


@pytest.mark.parametrize("model_type", KNOWN)
def test_every_key_that_is_read_is_understood_or_refused(model_type: str) -> None:
    family = FAMILIES[model_type]
    understood = {*family.keys, *family.aliases, *family.harmless, *COMMON, *GENERIC, *HARMLESS}
    assert not read_by(model_type) - understood - ROPE - NOT_KEYS.get(model_type, set()) - NEVER_KEYS


@pytest.mark.parametrize("model_type", KNOWN)
def test_what_is_called_unread_is_not_read(model_type: str) -> None:
    family = FAMILIES[model_type]
    unread = {key for key, entry in family.keys.items() if isinstance(entry.handler, Unread) and not entry.handler.unless(family)}
    assert all(family.keys[key].default is ABSENT for key in unread)
    assert not (unread - set(GENERIC) - NOT_KEYS.get(model_type, set())) & read_by(model_type)
