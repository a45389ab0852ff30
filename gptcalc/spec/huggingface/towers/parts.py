"""What towers and projectors are written with: the sizes of a part's config, and the tensors that come of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gptcalc.errors import GptcalcError
from gptcalc.spec.huggingface.family import written

LARGEST = 2**40
"""Of a size in a config: far beyond any real one."""


class Sizes:
    """The config of a tower, or a wrapper's own keys: what a file gives over what its class takes where it is silent.

    Raises GptcalcError, by name, for a value that is no size.
    """

    def __init__(self, given: Mapping[str, Any], defaults: Mapping[str, Any], where: str) -> None:
        self._values, self._where = {**defaults, **given}, where

    def number(self, key: str, least: int = 0) -> int:
        value = self._values.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= LARGEST:
            raise GptcalcError(f"{self._where}: {key} must be a whole number of at least {least}, not {written(value)}")
        return value

    def __getitem__(self, key: str) -> int:
        return self.number(key, 1)

    def flag(self, key: str) -> bool:
        value = self._values.get(key)
        if not isinstance(value, bool):
            raise GptcalcError(f"{self._where}: {key} must be true or false, not {written(value)}")
        return value

    def factor(self, key: str) -> float:
        value = self._values.get(key)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= LARGEST:
            raise GptcalcError(f"{self._where}: {key} must be a number above 0, not {written(value)}")
        return value

    def numbers(self, key: str) -> list[int]:
        """A list of whole numbers, or one of them for a list of one."""
        value = self._values.get(key)
        found: list[Any] = list(value) if isinstance(value, list | tuple) else [value]
        if not all(isinstance(one, int) and not isinstance(one, bool) and abs(one) <= LARGEST for one in found) or len(found) > 1000:
            raise GptcalcError(f"{self._where}: {key} must be whole numbers, not {written(value)}")
        return found

    def pair(self, key: str) -> tuple[int, int]:
        """One number for both directions, or two."""
        found = self.numbers(key)
        if len(found) not in (1, 2) or min(found) < 1:
            raise GptcalcError(f"{self._where}: {key} must be one whole number or two, not {written(self._values.get(key))}")
        return found[0], found[-1]

    def raw(self, key: str) -> Any:
        return self._values.get(key)

    def refuse(self, key: str, why: str) -> GptcalcError:
        return GptcalcError(f"{self._where}: {key} {written(self._values.get(key))} {why}")


class Parts:
    """The tensors of one tower or projector: path, how often it runs, shape."""

    def __init__(self) -> None:
        self.tensors: list[tuple[str, int, tuple[int, ...]]] = []

    def add(self, path: str, *shape: int, runs: int = 1) -> None:
        if runs and all(shape):
            self.tensors.append((path, runs, shape))

    def linear(self, path: str, n_in: int, n_out: int, bias: bool = True, runs: int = 1) -> None:
        self.add(f"{path}/weight", n_in, n_out, runs=runs)
        if bias:
            self.add(f"{path}/bias", n_out, runs=runs)

    def layernorm(self, path: str, width: int, runs: int = 1) -> None:
        self.add(f"{path}/weight", width, runs=runs)
        self.add(f"{path}/bias", width, runs=runs)

    def rmsnorm(self, path: str, width: int, runs: int = 1) -> None:
        self.add(f"{path}/weight", width, runs=runs)

    def attention(
        self,
        runs: int,
        width: int,
        *,
        inner: int = 0,
        kv: int = 0,
        bias: bool = True,
        key_bias: bool | None = None,
        output_bias: bool | None = None,
        path: str = "layers/attention",
    ) -> None:
        """Queries, keys, values and output of `inner` channels, keys and values of `kv`; of the stream's width where left out."""
        inner = inner or width
        kv = kv or inner
        self.linear(f"{path}/query", width, inner, bias, runs)
        self.linear(f"{path}/key", width, kv, bias if key_bias is None else key_bias, runs)
        self.linear(f"{path}/value", width, kv, bias, runs)
        self.linear(f"{path}/output", inner, width, bias if output_bias is None else output_bias, runs)

    def mlp(
        self, runs: int, width: int, inner: int, *, gated: bool = False, bias: bool = True, down_bias: bool | None = None, path: str = ""
    ) -> None:
        path = path or "layers/mlp"
        if gated:
            self.linear(f"{path}/gate", width, inner, bias, runs)
        self.linear(f"{path}/up", width, inner, bias, runs)
        self.linear(f"{path}/down", inner, width, bias if down_bias is None else down_bias, runs)

    def vit(self, runs: int, width: int, inner: int, *, qkv_bias: bool = True) -> None:
        """Layers with a LayerNorm before attention and before an ungated MLP, biases everywhere."""
        self.layernorm("layers/attention/norm", width, runs)
        self.attention(runs, width, bias=qkv_bias, output_bias=True)
        self.layernorm("layers/mlp/norm", width, runs)
        self.mlp(runs, width, inner)

    def rms_layers(self, runs: int, width: int, norms: int = 2) -> None:
        for name in ("attention/norm", "mlp/norm", "attention/output_norm", "mlp/output_norm")[:norms]:
            self.rmsnorm(f"layers/{name}", width, runs)
