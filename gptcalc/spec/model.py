"""`ModelSpec`: one decoder-only language model, as a frozen, strict record. The defaults are GPT-2's and GPT-3's architecture."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gptcalc.errors import GptcalcError, did_you_mean
from gptcalc.spec.reading import quoted
from gptcalc.spec.shape import Switches, shape_of, switches_of
from gptcalc.units import parse_count, parse_number

LARGEST_FIELD = 10**15
"""One field of one model above this is a slip of the keyboard."""


class Record(BaseModel):
    """Strict and frozen. Numbers may be written as people write them, 300B or 3.14e23: they are read before the fields are checked."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _read_numbers(cls, fields: Any) -> Any:
        if not isinstance(fields, Mapping):
            return fields
        read = dict(fields)
        for name, value in fields.items():
            kind = READERS.get(cls.__annotations__.get(name))
            if kind is not None and value is not None:
                try:
                    read[name] = kind(value)
                except GptcalcError as error:
                    raise GptcalcError(f"{name}: {error}", hint=error.hint) from None
        return read


def _count(value: object) -> int:
    count = parse_count(value)
    if count > LARGEST_FIELD:
        raise GptcalcError(f"{count:,} is too large: at most {LARGEST_FIELD:,}")
    return count


READERS: dict[Any, Callable[[object], float]] = {
    int: _count,
    int | None: _count,
    float: lambda value: float(parse_number(value)),
    int | float: parse_number,
}
"""By a field's annotation."""


class Published(Record):
    """A total that a paper or a model card prints, and how far the model may be from it before `verify` calls it wrong."""

    quantity: Literal["parameters", "non_embedding", "training_flops"] = "parameters"
    value: int | float
    tolerance: float = Field(0.0, ge=0, le=1)
    source: str
    note: str = ""


class ModelSpec(Record):
    name: str
    family: str = ""
    source: str = ""
    notes: tuple[str, ...] = Field(default=(), strict=False)
    published: tuple[Published, ...] = Field(default=(), strict=False)
    training_tokens: int | None = None

    # Sizes. None means: follows from the others.
    n_layer: int
    d_model: int
    n_head: int
    n_kv_head: int | None = None  # n_head: multi-head attention; fewer: grouped-query; 1: multi-query
    d_head: int | None = None  # d_model / n_head
    d_ff: int | None = None  # 4 * d_model
    vocab_size: int
    padded_vocab_size: int | None = None  # rows of the embedding matrix, where it has more than the vocabulary
    d_embedding: int | None = None  # the embedding's width where it is not d_model; two projections bridge the two

    # Positions
    n_ctx: int  # the longest sequence
    position: Literal["learned", "rotary", "none"] = "learned"
    n_position: int | None = None  # rows of the learned table, where it has more than n_ctx (OPT: n_ctx + 2)
    d_rotary: int | None = None  # how many of a head's d_head channels are rotated; all where left out
    rotary_pairs: Literal["halves", "neighbours"] = "halves"  # channel i turns with i + R/2 (NeoX, Llama) or with i + 1 (GPT-J)
    rope_theta: float = Field(10000.0, gt=0)
    rope_scaling: dict[str, Any] | None = None  # as Hugging Face writes it; changes angles, never a count
    sliding_window: int | None = None  # a query sees this many keys, itself included

    # Norms and the block
    norm: Literal["layernorm", "rmsnorm"] = "layernorm"
    norm_weight: bool = True
    norm_bias: bool = True  # RMSNorm has none, whatever stands here
    norm_epsilon: float = Field(1e-5, gt=0, lt=1)
    norm_placement: Literal["pre", "post"] = "pre"  # before each sublayer (GPT-2), or after each residual sum (GPT-1)
    final_norm: bool = True
    parallel_residual: bool = False  # attention and MLP read the same residual stream (GPT-J, NeoX)
    shared_norm: bool = False  # ... and the same norm's output (GPT-J)

    # Sublayers
    attention_bias: bool = True  # of query, key and value
    attention_output_bias: bool = True
    mlp_bias: bool = True
    activation: Literal["gelu", "gelu_tanh", "relu", "silu"] = "gelu_tanh"
    gated: bool = False  # SwiGLU and kin: three matrices instead of two

    # Head
    tied: bool = True  # the head reuses the token embedding
    head_bias: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> "ModelSpec":
        shape = shape_of(self)  # raises where heads do not divide
        idle = {
            "n_position": self.position != "learned",
            "d_rotary": self.position != "rotary",
            "rope_scaling": self.position != "rotary",
        }
        for name, unused in idle.items():
            if unused and getattr(self, name) is not None:
                raise GptcalcError(f"{name} means nothing with position '{self.position}'", hint=f"leave {name} out, or change position")
        if self.n_position is not None and self.n_position < self.n_ctx:
            raise GptcalcError(f"n_position {self.n_position} is below n_ctx {self.n_ctx}: the last positions have no row")
        if shape.d_rotary % 2 or shape.d_rotary > shape.d_head:
            raise GptcalcError(f"d_rotary {shape.d_rotary} must be even and at most d_head {shape.d_head}: channels turn in pairs")
        if self.d_embedding == self.d_model:
            raise GptcalcError(f"d_embedding {self.d_embedding} is d_model: nothing to project", hint="leave d_embedding out")
        if self.padded_vocab_size is not None and self.padded_vocab_size < self.vocab_size:
            raise GptcalcError(f"padded_vocab_size {self.padded_vocab_size} is below vocab_size {self.vocab_size}")
        if self.shared_norm and not self.parallel_residual:
            raise GptcalcError("shared_norm needs parallel_residual: one norm for two sublayers that read the same input")
        if self.parallel_residual and self.norm_placement == "post":
            raise GptcalcError("parallel_residual with norm_placement 'post' is no architecture that gptcalc knows")
        return self

    @property
    def switches(self) -> Switches:
        return switches_of(self)


def parse_model(fields: Mapping[str, Any]) -> ModelSpec:
    """A spec from a plain mapping.

    Raises GptcalcError, in one line, for an unknown, missing or malformed field and for fields that contradict each other.

    >>> parse_model({"name": "tiny", "n_layer": 2, "d_model": 64, "n_head": 4, "vocab_size": 256, "n_ctx": 128}).d_model
    64
    """
    for key in fields:
        if key not in ModelSpec.model_fields:
            raise GptcalcError(f"unknown field {str(key)[:60]!r}", hint=did_you_mean(str(key), ModelSpec.model_fields))
    try:
        return ModelSpec.model_validate(dict(fields))
    except ValidationError as error:
        raise _one_line(error) from None


def _one_line(error: ValidationError) -> GptcalcError:
    first = error.errors(include_url=False)[0]
    cause = first.get("ctx", {}).get("error")
    hint = cause.hint if isinstance(cause, GptcalcError) else None
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return GptcalcError(f"field '{where}' is missing")
    message = str(cause) if cause is not None else first["msg"][0].lower() + first["msg"][1:]
    if first["type"] not in ("value_error", "missing"):
        message += f", not {quoted(first['input'])}"
    return GptcalcError(f"{where}: {message}" if where else message, hint=hint)
