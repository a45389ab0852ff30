"""GGUF files as witnesses: their tensors' own types make the bytes; other tensors, cut and hostile headers are refused by name."""

import json
import struct
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

import gptcalc as gc

Tensors = dict[str, tuple[tuple[int, ...], str]]

BYTES = {"F32": (1, 4), "F16": (1, 2), "Q4_K": (256, 144), "Q6_K": (256, 210), "Q8_0": (32, 34), "MXFP4": (32, 17)}
"""Elements and bytes of a block of each type: ggml.h."""

KEYS: dict[str, Any] = {"block_count": 4, "context_length": 4096, "embedding_length": 256, "feed_forward_length": 512}
KEYS |= {"attention.head_count": 4, "attention.head_count_kv": 2, "attention.layer_norm_rms_epsilon": 1e-5, "rope.freq_base": 1e4}


def tensors() -> Tensors:
    """A small Llama as Q4_K_M stores it: values and every other down projection in more bits than the rest."""
    found: Tensors = {"token_embd.weight": ((1000, 256), "Q6_K"), "output_norm.weight": ((256,), "F32")}
    found |= {"rope_freqs.weight": ((32,), "F32")}
    for layer in range(4):
        more = "Q6_K" if layer % 2 else "Q4_K"
        each = {"attn_norm": ((256,), "F32"), "ffn_norm": ((256,), "F32"), "attn_q": ((256, 256), "Q4_K"), "attn_k": ((128, 256), "Q4_K")}
        each |= {"attn_v": ((128, 256), more), "attn_output": ((256, 256), "Q4_K"), "ffn_gate": ((512, 256), "Q4_K")}
        each |= {"ffn_up": ((512, 256), "Q4_K"), "ffn_down": ((256, 512), more)}
        found |= {f"blk.{layer}.{name}.weight": one for name, one in each.items()}
    return found


def size(shape: tuple[int, ...], kind: str) -> int:
    elements, n_bytes = BYTES[kind]
    return prod(shape) // elements * n_bytes


def write(path: Path, of: Tensors, arch: str = "llama", keys: dict[str, Any] = KEYS, more: dict[str, Any] | None = None) -> Path:
    writer = gguf.GGUFWriter(path, arch)
    adding = {int: writer.add_uint32, float: writer.add_float32, list: writer.add_array, str: writer.add_string}
    for name, value in {**{f"{arch}.{name}": value for name, value in keys.items()}, **(more or {})}.items():
        adding[type(value)](name, value)
    writer.add_array("tokenizer.ggml.tokens", [f"word{number}" for number in range(1000)])
    for name, (shape, kind) in of.items():
        if kind in ("F32", "F16"):
            writer.add_tensor(name, np.zeros(shape, {"F32": np.float32, "F16": np.float16}[kind]))
        else:
            elements, n_bytes = BYTES[kind]
            raw = np.zeros((*shape[:-1], shape[-1] // elements * n_bytes), np.uint8)
            writer.add_tensor(name, raw, raw_dtype=gguf.GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def learned(of: Tensors) -> Tensors:
    return {name: one for name, one in of.items() if name != "rope_freqs.weight"}


def test_parameters_and_bytes_are_those_of_the_tensors(run: Any, tmp_path: Path) -> None:
    path, of = write(tmp_path / "tiny.gguf", tensors()), learned(tensors())
    ran = run("params", path, "--check", "-f", "json")
    found = json.loads(ran.out)["result"]
    assert ran.code == 0
    assert found["value"] == sum(prod(shape) for shape, _ in of.values())
    assert found["checkpoint"]["ok"]
    assert found["checkpoint"]["bytes"] == sum(size(*one) for one in of.values())
    assert found["checkpoint"]["beside"] == {"buffers": {"tensors": 1, "elements": 32}}


def test_memory_counts_each_tensor_by_its_type(tmp_path: Path) -> None:
    path = write(tmp_path / "tiny.gguf", tensors())
    found = gc.memory(gc.model(path), mode="inference", seq=512)
    assert found.to_dict()["weights"] == sum(size(*one) for one in learned(tensors()).values())
    assert found.to_dict()["kv_cache"] == 512 * 2 * 4 * 2 * 64 * 2


def test_a_step_reads_the_bytes_of_the_file(tmp_path: Path) -> None:
    answer = gc.infer(gc.model(write(tmp_path / "tiny.gguf", tensors())), device="h100-80gb", prompt=16, output=2)
    moved = sum(one["bytes"] for one in answer.to_dict()["operations"]["decode"] if one["operation"] == "head/output")
    assert size((1000, 256), "Q6_K") < moved < size((1000, 256), "Q6_K") + 2 * 256 + 2 * 1000 + 1
    assert "weights as stored" in answer.certainty.text


def test_a_split_model_is_read_whole(tmp_path: Path) -> None:
    of = tensors()
    names = list(of)
    parts = [{name: of[name] for name in names[:20]}, {name: of[name] for name in names[20:]}]
    paths = [tmp_path / f"m-0000{number}-of-00002.gguf" for number in (1, 2)]
    for path, part in zip(paths, parts, strict=True):
        write(path, part, more={"split.tensors.count": len(of)})
    whole = gc.params(gc.model(paths[1])).value
    assert whole == sum(prod(shape) for shape, _ in learned(of).values())
    paths[0].unlink()
    with pytest.raises(gc.GptcalcError, match=r"m-00001-of-00002.gguf: is missing"):
        gc.model(paths[1])


def without(name: str) -> Tensors:
    return {other: one for other, one in tensors().items() if other != name}


@pytest.mark.parametrize(
    ("of", "named"),
    [
        (without("blk.2.attn_k.weight"), "'blk.2.attn_k.weight' is none in the file and 128 x 256"),
        (tensors() | {"blk.1.attn_extra.weight": ((7, 9), "F32")}, "'blk.1.attn_extra.weight' is 7 x 9 in the file and none"),
        (tensors() | {"blk.1.ffn_up.weight": ((256, 256), "Q4_K")}, "'blk.1.ffn_up.weight' is 256 x 256 in the file and 512 x 256"),
    ],
)
def test_tensors_that_the_metadata_does_not_explain_are_named(of: Tensors, named: str, run: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "odd.gguf", of)
    for command in (["params", path], ["memory", path, "--mode", "inference"], ["infer", path]):
        ran = run(*command)
        assert ran.code == 2
        assert named in ran.err
        assert ran.err.count("\n") <= 2
    ran = run("params", path, "--check")
    assert ran.code == 1
    assert named.split("'")[1] in ran.out


def test_an_unknown_architecture_is_refused_with_its_bytes(run: Any, tmp_path: Path) -> None:
    ran = run("params", write(tmp_path / "new.gguf", tensors(), arch="tomorrow"))
    total = sum(size(*one) for one in tensors().values())
    assert ran.code == 2
    assert "architecture 'tomorrow'" in ran.err
    assert f"in {total:,} bytes" in ran.err
    ran = run("params", write(tmp_path / "p.gguf", tensors(), arch="clip"))
    assert ran.code == 2
    assert "projector" in ran.err


def header(entries: int, body: bytes = b"", tensors_: int = 0) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensors_, entries) + body


def entry(key: str, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(key)) + key.encode() + struct.pack("<I", kind) + value


HOSTILE: dict[str, bytes | Callable[[bytes], bytes]] = {
    "empty": b"",
    "other": b"PK\x03\x04" + bytes(100),
    "only the magic": b"GGUF",
    "cut in the metadata": lambda whole: whole[:200],
    "cut in the tensors' names": lambda whole: whole[: whole.index(b"blk.2.attn_q") + 5],
    "cut in the weights": lambda whole: whole[:-5000],
    "too many tensors": header(0, tensors_=2**60),
    "too many entries": header(2**60),
    "a name longer than the file": header(1, struct.pack("<Q", 2**62) + b"x" * 100),
    "a huge array": header(1, entry("x.y", 9, struct.pack("<IQ", 0, 2**60))),
    "a huge list of text": header(1, entry("x.y", 9, struct.pack("<IQ", 8, 3_000_000) + struct.pack("<Q", 2**63))),
    "arrays of arrays": header(1, entry("x.y", 9, struct.pack("<IQ", 9, 4))),
    "a kind that there is not": header(1, entry("x.y", 77, bytes(64))),
    "another version": b"GGUF" + struct.pack("<IQQ", 999, 0, 0),
    "a huge tensor": header(0, struct.pack("<Q", 1) + b"x" + struct.pack("<I4QIQ", 4, *[2**40] * 4, 0, 0), tensors_=1),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_files_that_are_no_gguf_files_are_refused_in_one_line(kind: str, run: Any, tmp_path: Path) -> None:
    given = HOSTILE[kind]
    path = tmp_path / "bad.gguf"
    path.write_bytes(given if isinstance(given, bytes) else given(write(tmp_path / "good.gguf", tensors()).read_bytes()))
    ran = run("params", path)
    assert ran.code == 2
    assert "bad.gguf" in ran.err
    assert "cut or no GGUF" in ran.err
    assert "fault" not in ran.err
    assert ran.err.count("\n") <= 2


def test_a_file_that_is_not_there(run: Any, tmp_path: Path) -> None:
    assert "no such file" in run("params", tmp_path / "none.gguf").err
    (tmp_path / "folder.gguf").mkdir()
    assert "not a regular file" in run("params", tmp_path / "folder.gguf").err


@pytest.mark.parametrize(
    ("key", "value"),
    [("block_count", 0), ("attention.head_count", 3), ("attention.head_count_kv", [2, 1, 2, 1]), ("embedding_length", "x")],
)
def test_metadata_that_cannot_be_is_refused(key: str, value: Any, run: Any, tmp_path: Path) -> None:
    ran = run("params", write(tmp_path / "odd.gguf", tensors(), keys=KEYS | {key: value}))
    assert ran.code == 2
    assert "odd.gguf" in ran.err
    assert ran.err.count("\n") <= 2
