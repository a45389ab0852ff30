"""What an importer of one model type is made of: the class's keys with their defaults, and a config with those defaults filled in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, NamedTuple

from gptcalc.errors import GptcalcError
from gptcalc.spec.reading import quoted, shown

LARGEST_SIZE = 10**12
"""Wider than this is a slip of the keyboard, as in `spec.model`."""

MOST_LAYERS = 10_000
"""Of layers that differ from one another, which are listed one by one."""

Fields = dict[str, object]


class Absent:
    """The default of a key that the class does not have, where a value could still contradict what it builds."""

    def __repr__(self) -> str:
        return "absent"


ABSENT = Absent()


class Key(NamedTuple):
    """One key of a config class: what the class takes where a file leaves it out, and what its value becomes."""

    default: object
    handler: Handler


@dataclass(frozen=True)
class Family:
    """One model type: the class's keys, and what the class builds whatever its config says.

    A key's handler is called whether or not a file gives the key, in the order of the keys.
    """

    model_type: str
    classes: tuple[str, ...]
    keys: Mapping[str, Key]
    fixed: Fields
    aliases: Mapping[str, str] = field(default_factory=dict)  # a second name that the class accepts: its own name for it
    harmless: Mapping[str, str] = field(default_factory=dict)  # key: why it changes nothing, beside `harmless.HARMLESS`


def variant(
    base: Family,
    model_type: str,
    cls: str,
    name: str = "",
    *,
    defaults: Mapping[str, object] | None = None,
    keys: Mapping[str, Key] | None = None,
    without: str = "",
    fixed: Fields | None = None,
    aliases: Mapping[str, str] | None = None,
    harmless: Mapping[str, str] | None = None,
) -> Family:
    """A family that is `base` but for a few keys, defaults and fixed fields; `without` names keys that its class lacks.

    >>> from gptcalc.spec.huggingface.families.llama import LLAMA
    >>> variant(LLAMA, "mine", "MineForCausalLM", defaults={"hidden_size": 64}).keys["hidden_size"].default
    64
    """
    gone = set(without.split())
    changed = {key: entry for key, entry in base.keys.items() if key not in gone} | dict(keys or {})
    for key, default in (defaults or {}).items():
        changed[key] = Key(default, changed[key].handler)
    kept = {field: value for field, value in base.fixed.items() if field not in gone}
    return Family(
        model_type,
        tuple(cls.split()),
        changed,
        kept | ({"family": name} if name else {}) | (fixed or {}),
        {other: own for other, own in {**base.aliases, **(aliases or {})}.items() if own in changed},
        {key: why for key, why in base.harmless.items() if key not in changed and key not in gone} | dict(harmless or {}),
    )


SIZES = {
    "V": "vocab_size",
    "d": "hidden_size",
    "F": "intermediate_size",
    "L": "num_hidden_layers",
    "H": "num_attention_heads",
    "K": "num_key_value_heads",
    "Q": "head_dim",
    "T": "max_position_embeddings",
}


def sizes(**defaults: object) -> dict[str, object]:
    """Defaults of a class, those that nearly every class has by the papers' letters.

    >>> sizes(V=32000, L=32, tie_word_embeddings=True)
    {'vocab_size': 32000, 'num_hidden_layers': 32, 'tie_word_embeddings': True}
    """
    return {SIZES.get(name, name): value for name, value in defaults.items()}


def because(why: str, keys: str) -> dict[str, str]:
    """Harmless keys that have one reason.

    >>> because("dropout", "attn_pdrop resid_pdrop")
    {'attn_pdrop': 'dropout', 'resid_pdrop': 'dropout'}
    """
    return dict.fromkeys(keys.split(), why)


class Config:
    """A config with its class's defaults filled in, and the words of an error that names the file and the key.

    A key may be asked for by either of its names.
    """

    def __init__(self, data: Mapping[str, Any], family: Family, where: str) -> None:
        self.data, self.family, self.where = data, family, where
        self.sources: dict[str, str] = {}  # fields that came from another key than the one whose handler gives them; "" for no key
        self.unread: dict[str, str] = {}  # keys of the file that the class does not read: what the file says against what is built, or ""

    def __getitem__(self, key: str) -> Any:
        own = self.family.aliases.get(key, key)
        return self.data[own] if own in self.data else self.family.keys[own].default

    def __contains__(self, key: str) -> bool:
        """Whether the class has the key at all, or the file gives it."""
        own = self.family.aliases.get(key, key)
        return own in self.data or (own in self.family.keys and self.family.keys[own].default is not ABSENT)

    def refuse(self, key: str, why: str, hint: str | None = None) -> GptcalcError:
        return GptcalcError(f"{self.where}: {shown(key)} {why}", hint=hint)

    def size(self, key: str, least: int = 1) -> int:
        value = self[key]
        if type(value) is not int or not least <= value <= LARGEST_SIZE:
            raise self.refuse(key, f"must be a whole number{' above zero' if least else ''}, not {written(value)}")
        return value

    def flag(self, key: str) -> bool:
        value = self[key]
        if not isinstance(value, bool):
            raise self.refuse(key, f"must be true or false, not {written(value)}")
        return value

    def number(self, key: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e30:
            raise self.refuse(key, f"must be a number above zero, not {written(value)}")
        return float(value)

    @property
    def layers(self) -> int:
        """How many layers there are, where each is looked at by itself."""
        layers = self.size("num_hidden_layers")
        if layers > MOST_LAYERS:
            raise self.refuse("num_hidden_layers", f"{layers} is too large for layers that differ: at most {MOST_LAYERS}")
        return layers

    @property
    def d_head(self) -> int:
        """The width of a head: as given, or the model's width over its heads, rounded down as `//` does."""
        known = "head_dim" in self.family.keys or "head_dim" in self.family.aliases
        if known and self["head_dim"] is not None and self["head_dim"] is not ABSENT:
            return self.size("head_dim")
        return self.size("hidden_size") // self.size("num_attention_heads")


Handler = Callable[[str, Config], Fields]
"""What a key becomes. It is called whether or not the file gives the key: `config[key]` is then the class's default."""


@dataclass(frozen=True)
class Unread:
    """The handler of a key that the class does not read. Where `agrees` refuses a value, the file says something that is not built.

    `unless` says of which families the code reads it after all.
    """

    agrees: Handler
    unless: Callable[[Family], bool] = lambda family: False

    def __call__(self, key: str, config: Config) -> Fields:
        return self.agrees(key, config)


def same_class(name: object, known: str) -> bool:
    """Whether two names of a class differ in capitals and underscores at most, as those of its maker's own code do.

    >>> same_class("PhiMoEForCausalLM", "PhimoeForCausalLM"), same_class("GPT2Model", "GPT2LMHeadModel")
    (True, False)
    """
    return isinstance(name, str) and name.replace("_", "").lower() == known.replace("_", "").lower()


def written(value: object) -> str:
    """A value of a file, as JSON writes it."""
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    if isinstance(value, float) and not isfinite(value):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    return quoted(value)
