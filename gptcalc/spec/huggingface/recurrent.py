"""What files say of layers that are no attention: which they are, and the sizes of their mixers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from gptcalc.spec.huggingface.family import ABSENT, Config, Fields, Handler, Key, written
from gptcalc.spec.huggingface.handlers import read_elsewhere
from gptcalc.spec.huggingface.layers import ATTENTION, Layer, listed

LINEAR = {"linear_attention": "linear", "mamba": "linear", "full_attention": "full", "attention": "full"}
"""The words of files, old ones among them."""

Rule = Callable[[Config], Callable[[int], str]]


def mixers(
    mixer: Callable[[Config], Fields], rule: Rule, known: Mapping[str, str] = LINEAR, **others: Callable[[Config], Fields]
) -> Handler:
    """The handler of `layer_types`: `mixer` has the fields of linear layers, `others` those of the other kinds, where they have any."""

    def read(key: str, config: Config) -> Fields:
        kinds = listed(key, config, known, rule(config))
        of_kind = {"linear": mixer, **others}
        columns: dict[str, Fields] = {kind: of_kind[kind](config) if kind in of_kind else {} for kind in dict.fromkeys(kinds)}
        if "linear" in columns:
            silu_only(config)
        return {ATTENTION: [Layer(kind, columns[kind]) for kind in kinds]}

    return read


def mixers_of_rule(mixer: Callable[[Config], Fields], rule: Rule) -> Handler:
    """For classes whose rule says it alone, whatever list a file has."""

    def read(key: str, config: Config) -> Fields:
        of = rule(config)
        kinds = [of(i) for i in range(config.layers)]
        if "linear" in kinds:
            silu_only(config)
        own = mixer(config) if "linear" in kinds else {}
        return {ATTENTION: [Layer(kind, own if kind == "linear" else {}) for kind in kinds]}

    return read


def as_built(rule: Rule) -> Handler:
    """A list of kinds that the class does not read, and writes: it must be what the class builds anyway."""

    def read(key: str, config: Config) -> Fields:
        if config[key] not in (None, ABSENT):
            of = rule(config)
            built = [of(i) for i in range(config.layers)]
            given = (
                [LINEAR.get(one, one) if isinstance(one, str) else one for one in config[key]] if isinstance(config[key], list) else None
            )
            if given != built:
                raise config.refuse(key, f"{written(config[key])} contradicts what the class builds, {written(built)}")
        return {}

    return read


def silu_only(config: Config) -> None:
    """Mixers have the activation that files give for the whole model, and are known with SiLU alone."""
    name = next((key for key in ("mamba_hidden_act", "hidden_act") if key in config), None)
    if name is not None and config[name] not in ("silu", "swish"):
        raise config.refuse(name, f"{written(config[name])} is not understood: mixers are known with silu")


def last_of(key: str, default: int) -> Rule:
    """The last layer of every so many is attention."""

    def rule(config: Config) -> Callable[[int], str]:
        period = default if config[key] is ABSENT else config.size(key)
        return lambda i: "linear" if (i + 1) % period else "full"

    return rule


def automatic(key: str, config: Config, value: Callable[[], int]) -> int:
    return value() if config[key] == "auto" else config.size(key)


# --- Gated DeltaNet -------------------------------------------------------------------------------------------------------------------

DELTA_KEYS = read_elsewhere(
    linear_conv_kernel_dim=4, linear_key_head_dim=128, linear_value_head_dim=128, linear_num_key_heads=16, linear_num_value_heads=32
)


def delta_net(config: Config) -> Fields:
    heads, keys = config.size("linear_num_value_heads"), config.size("linear_num_key_heads")
    if heads % keys:
        raise config.refuse("linear_num_value_heads", f"{heads} is not a multiple of linear_num_key_heads {keys}")
    sizes: Fields = {"kind": "delta_net", "n_head": heads, "n_key_head": keys, "d_conv": config.size("linear_conv_kernel_dim")}
    sizes |= {"d_head": config.size("linear_value_head_dim"), "d_key": config.size("linear_key_head_dim")}
    return {"mixer": sizes}


# --- Mamba-2 --------------------------------------------------------------------------------------------------------------------------

MAMBA2_KEYS = {
    **read_elsewhere(mamba_n_heads=128, mamba_n_groups=1, mamba_d_state=256, mamba_d_conv=4, mamba_expand=2, mamba_chunk_size=256),
    **read_elsewhere(mamba_conv_bias=True, mamba_proj_bias=False),
    "mamba_d_head": Key("auto", lambda key, config: {}),
    "time_step_limit": Key((0.0, math.inf), lambda key, config: {}),
}


def step_limits(config: Config, key: str = "time_step_limit") -> Fields:
    """Steps are kept between these; zero and infinity change nothing."""
    given = config[key]
    if not isinstance(given, list | tuple) or len(given) != 2 or not all(type(bound) in (int, float) and bound >= 0 for bound in given):
        raise config.refuse(key, f"must be two numbers from zero on, not {written(given)}")
    low, high = float(given[0]), float(given[1])
    least: Fields = {"step_least": low} if low else {}
    return least if high == math.inf else least | {"step_most": high}


def mamba2(
    width: Callable[[Config], int], output_bias: str = "mamba_proj_bias", **own: Callable[[Config], object]
) -> Callable[[Config], Fields]:
    """The mixer of Bamba's names; `width` is that of all heads together."""

    def read(config: Config) -> Fields:
        heads, inner = config.size("mamba_n_heads"), width(config)
        head = automatic("mamba_d_head", config, lambda: inner // heads)
        if head * heads != inner:
            raise config.refuse("mamba_d_head", f"{head} times mamba_n_heads {heads} is not {inner}, the width of the mixer")
        return {
            "mixer": {
                **{"kind": "mamba2", "n_head": heads, "d_head": head, "n_group": grouped(config, "mamba_n_groups", heads)},
                **{
                    "d_state": config.size("mamba_d_state"),
                    "d_conv": config.size("mamba_d_conv"),
                    "chunk": config.size("mamba_chunk_size"),
                },
                **{
                    "bias": config.flag("mamba_proj_bias"),
                    "output_bias": config.flag(output_bias),
                    "conv_bias": config.flag("mamba_conv_bias"),
                },
                **step_limits(config),
                **{name: read(config) for name, read in own.items()},
            }
        }

    return read


def grouped(config: Config, key: str, heads: int) -> int:
    groups = config.size(key)
    if heads % groups:
        raise config.refuse(key, f"{groups} does not divide the {heads} heads of the mixer")
    return groups


def expanded(key: str = "mamba_expand") -> Callable[[Config], int]:
    """So many times the model's width."""

    def read(config: Config) -> int:
        return int(config.number(key, config[key]) * config.size("hidden_size"))

    return read


# --- Mamba ----------------------------------------------------------------------------------------------------------------------------


def mamba(prefix: str = "", **own: object) -> Callable[[Config], Fields]:
    """The mixer of Mamba's names, or of Jamba's with a prefix."""
    names = ("state_size", "conv_kernel", "expand", "time_step_rank", "use_bias", "use_conv_bias")
    if prefix:
        names = ("mamba_d_state", "mamba_d_conv", "mamba_expand", "mamba_dt_rank", "mamba_proj_bias", "mamba_conv_bias")
    state, conv, expand, rank, bias, conv_bias = names

    def read(config: Config) -> Fields:
        sizes: Fields = {
            **{"kind": "mamba", "n_head": expanded(expand)(config), "d_state": config.size(state), "d_conv": config.size(conv)},
            "rank": automatic(rank, config, lambda: -(-config.size("hidden_size") // 16)),
            **{"bias": config.flag(bias), "conv_bias": config.flag(conv_bias)},
            **{name: value(config) if callable(value) else value for name, value in own.items()},
        }
        return {"mixer": sizes}

    return read


def alone(mixer: Callable[[Config], Fields], kind: str) -> Handler:
    """For classes whose every layer is a mixer and nothing else."""

    def read(key: str, config: Config) -> Fields:
        silu_only(config)
        return {**mixer(config), "composition": [kind]}

    return read
