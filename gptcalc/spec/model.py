"""`ModelSpec`: one decoder-only language model, as a frozen, strict record. The defaults are GPT-2's and GPT-3's architecture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from gptcalc.errors import GptcalcError, did_you_mean
from gptcalc.spec.shape import Switches, shape_of, switches_of
from gptcalc.units import parse_count, parse_number

# One field of one model: wider than this is a slip of the keyboard, and every product of a few stays below 2**53 or an exact int.
Count = Annotated[int, BeforeValidator(parse_count), Field(le=10**12)]
Number = Annotated[int | float, BeforeValidator(parse_number)]


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=())


class Published(Record):
    """A total that a paper or a model card prints, and how far the model may be from it before `verify` calls it wrong."""

    quantity: Literal["parameters", "non_embedding", "training_flops"] = "parameters"
    value: Number
    tolerance: Annotated[float, BeforeValidator(parse_number), BeforeValidator(float), Field(ge=0, le=1)] = 0.0
    source: str
    note: str = ""


class ModelSpec(Record):
    name: str
    family: str = ""
    source: str = ""
    notes: tuple[str, ...] = Field(default=(), strict=False)
    published: tuple[Published, ...] = Field(default=(), strict=False)
    training_tokens: Count | None = None

    # Sizes. None means: follows from the others.
    n_layer: Count
    d_model: Count
    n_head: Count
    n_kv_head: Count | None = None  # n_head: multi-head attention; fewer: grouped-query; 1: multi-query
    d_head: Count | None = None  # d_model / n_head
    d_ff: Count | None = None  # 4 * d_model
    vocab_size: Count
    padded_vocab_size: Count | None = None  # rows of the embedding matrix, where it has more than the vocabulary
    d_embedding: Count | None = None  # the embedding's width where it is not d_model; two projections bridge the two

    # Positions
    n_ctx: Count  # the longest sequence
    position: Literal["learned", "rotary", "none"] = "learned"
    n_position: Count | None = None  # rows of the learned table, where it has more than n_ctx (OPT: n_ctx + 2)
    d_rotary: Count | None = None  # how many of a head's d_head channels are rotated; all where left out
    rotary_pairs: Literal["halves", "neighbours"] = "halves"  # channel i turns with i + R/2 (NeoX, Llama) or with i + 1 (GPT-J)
    rope_theta: Annotated[float, BeforeValidator(parse_number), BeforeValidator(float), Field(gt=0)] = 10000.0
    rope_scaling: dict[str, Any] | None = None  # as Hugging Face writes it; changes angles, never a count
    sliding_window: Count | None = None  # a query sees this many keys, itself included

    # Norms and the block
    norm: Literal["layernorm", "rmsnorm"] = "layernorm"
    norm_weight: bool = True
    norm_bias: bool = True  # RMSNorm has none, whatever stands here
    norm_epsilon: Annotated[float, BeforeValidator(parse_number), BeforeValidator(float), Field(gt=0, lt=1)] = 1e-5
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
    def _consistent(self) -> ModelSpec:
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
        given = repr(first["input"])
        message += f", not {given if len(given) <= 40 else given[:37] + '...'}"
    return GptcalcError(f"{where}: {message}" if where else message, hint=hint)
