"""Layers that differ from one another: what config files say of single layers becomes kinds of block and the order they come in.

A handler says what each layer's attention or MLP sets for itself, under one of two fields that no spec has; `settle` puts the two
together. Where all layers are alike, their fields are the model's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from gptcalc.spec.huggingface.family import ABSENT, Config, Fields, Handler, written
from gptcalc.spec.huggingface.rotary import angles

ATTENTION, MLP = "attention of each layer", "mlp of each layer"


class Layer(NamedTuple):
    """What one layer's sublayer sets for itself, and a word for its kind."""

    kind: str
    fields: Fields


def settle(fields: Fields) -> Fields:
    """The fields of the spec, with what single layers set as `blocks` and `layout`.

    >>> two = [Layer("dense", {}), Layer("moe", {"n_expert": 8})]
    >>> settle({"n_layer": 2, MLP: two})
    {'n_layer': 2, 'blocks': {'dense': {}, 'moe': {'n_expert': 8}}, 'layout': ('dense', 'moe')}
    """
    rest = {name: value for name, value in fields.items() if name not in (ATTENTION, MLP)}
    columns: list[list[Layer]] = []
    for name in (ATTENTION, MLP):
        layers: Any = fields.get(name)
        if layers and all(layer.fields == layers[0].fields for layer in layers):
            rest |= layers[0].fields
        elif layers:
            columns.append(layers)
    if not columns:
        return rest
    blocks: dict[str, Fields] = {}
    names = [_named(blocks, [column[i] for column in columns]) for i in range(len(columns[0]))]
    return {**rest, "blocks": blocks, "layout": layout_of(names)}


def _named(blocks: dict[str, Fields], parts: Sequence[Layer]) -> str:
    """The name of the kind of block that has these fields, which is new where no kind has them yet."""
    fields: Fields = {}
    for part in parts:
        fields |= part.fields
    base = "_".join(part.kind for part in parts)
    number, name = 1, base
    while name in blocks and blocks[name] != fields:
        number += 1
        name = f"{base}{number}"
    blocks[name] = fields
    return name


def layout_of(names: Sequence[str]) -> tuple[str, ...]:
    """The kinds of layers in short: runs are counted, and what repeats is written once.

    >>> layout_of(["local", "local", "global"] * 4), layout_of(["dense"] + ["moe"] * 60)
    (('local*2', 'global', '...'), ('dense', 'moe*60'))
    """
    for period in range(1, min(len(names) // 2, 16) + 1):
        if all(names[i] == names[i % period] for i in range(len(names))):
            return (*_runs(names[:period]), "...")
    return _runs(names)


def _runs(names: Sequence[str]) -> tuple[str, ...]:
    runs: list[list[Any]] = []
    for name in names:
        if runs and runs[-1][0] == name:
            runs[-1][1] += 1
        else:
            runs.append([name, 1])
    return tuple(name if count == 1 else f"{name}*{count}" for name, count in runs)


# --- What files say of single layers ------------------------------------------------------------------------------------------------


def listed(key: str, config: Config, known: Mapping[str, str], default: Callable[[int], str] | None) -> list[str]:
    """The kind of each layer, by a list in the file or by the class's own rule; `known` maps the words of the file."""
    layers, value = config.layers, config[key]
    if value is None or value is ABSENT:
        return [default(i) for i in range(layers)] if default else []
    if not isinstance(value, list) or len(value) != layers:
        found = f"{len(value)} entries" if isinstance(value, list) else written(value)
        raise config.refuse(key, f"must be a list of {layers} kinds, one for each layer, not {found}")
    for entry in value:
        if not isinstance(entry, str) or entry not in known:
            raise config.refuse(key, f"has the entry {written(entry)}, which is not understood", f"known: {', '.join(known)}")
    return [known[entry] for entry in value]


ATTENTIONS = {"full_attention": "full", "sliding_attention": "sliding"}


def every(n: int | Callable[[Config], int]) -> Callable[[Config], Callable[[int], str]]:
    """The last of every n layers sees everything, the others a window; where n is zero, all see everything."""

    def rule(config: Config) -> Callable[[int], str]:
        period = n(config) if callable(n) else n
        return lambda i: "sliding" if period and (i + 1) % period else "full"

    return rule


def always(kind: str) -> Callable[[Config], Callable[[int], str]]:
    return lambda config: lambda i: kind


def from_key(key: str, default: int | None = None) -> Callable[[Config], int]:
    """The number that a key gives; `default` where a file leaves out a key that is read from nowhere else."""

    def read(config: Config) -> int:
        if default is not None and config[key] in (None, ABSENT):
            return default
        return config.size(key)

    return read


def attentions(
    rule: Callable[[Config], Callable[[int], str]],
    *,
    window: Callable[[Config], int | None] = lambda config: config.size("sliding_window"),
    full: Callable[[Config], Fields] = lambda config: {},
    sliding: Callable[[Config], Fields] = lambda config: {},
) -> Handler:
    """The handler of `layer_types`: windows in some layers, and what else is different in them."""

    def read(key: str, config: Config) -> Fields:
        kinds = listed(key, config, ATTENTIONS, rule(config))
        columns = {"full": full(config)}
        if "sliding" in kinds:
            width = window(config)
            columns["sliding"] = {**sliding(config), **({} if width is None else {"sliding_window": width})}
        return {ATTENTION: [Layer(kind, columns[kind]) for kind in kinds]}

    return read


def unrotated_beside_windows(config: Config) -> Fields:
    """Where some layers have windows, the others have no positions."""
    return {} if config["sliding_window"] is None else {"position": "none"}


def window_or_none(config: Config) -> int | None:
    return None if config["sliding_window"] is None else config.size("sliding_window")


def angles_by_kind(
    thetas: Mapping[str, Any], shares: Mapping[str, float] | None = None, old: Mapping[str, str] | None = None
) -> Callable[[str], Callable[[Config], Fields]]:
    """The rotary angles of one kind of layer, where `rope_parameters` has a mapping for each kind.

    `thetas` are the class's defaults; `old` names the keys that older files give them under.
    """

    def of_kind(kind: str) -> Callable[[Config], Fields]:
        def read(config: Config) -> Fields:
            given = config["rope_parameters"]
            if given is not None and not isinstance(given, dict):
                raise config.refuse("rope_parameters", f"must be a mapping, not {written(given)}")
            for name in given or {}:
                if name not in ATTENTIONS:
                    raise config.refuse("rope_parameters", f"has the key {written(name)}: its angles must stand under the kinds of layers")
            inside = dict(_mapping(config, "rope_parameters", (given or {}).get(kind)))
            if kind == "full_attention" and "rope_scaling" in config.data:
                inside |= _mapping(config, "rope_scaling", config["rope_scaling"])
            theta_key = (old or {}).get(kind)
            theta = config.data.get(theta_key, thetas[kind]) if theta_key else thetas[kind]
            share = inside.get("partial_rotary_factor", (shares or {}).get(kind, 1.0))
            return angles("rope_parameters", inside, config, theta=theta, theta_key=theta_key or "", share=share)

        return read

    return of_kind


def _mapping(config: Config, key: str, value: object) -> Mapping[str, Any]:
    if value is not None and not isinstance(value, dict):
        raise config.refuse(key, f"must be a mapping, not {written(value)}")
    return value or {}


# --- Layers with experts ------------------------------------------------------------------------------------------------------------


def experts_in(is_sparse: Callable[[Config, int], bool], experts: Callable[[Config], Fields]) -> Handler:
    """Experts in some layers and one MLP in the others."""

    def read(key: str, config: Config) -> Fields:
        sparse = [is_sparse(config, i) for i in range(config.layers)]
        own = experts(config) if any(sparse) else {}
        return {MLP: [Layer("moe", own) if flag else Layer("dense", {}) for flag in sparse]}

    return read


def experts_listed(experts: Callable[[Config], Fields], rule: Callable[[Config], Callable[[int], str]]) -> Handler:
    """The handler of `mlp_layer_types`."""

    def read(key: str, config: Config) -> Fields:
        kinds = listed(key, config, {"dense": "dense", "sparse": "moe"}, rule(config))
        own = experts(config) if "moe" in kinds else {}
        return {MLP: [Layer(kind, own if kind == "moe" else {}) for kind in kinds]}

    return read
