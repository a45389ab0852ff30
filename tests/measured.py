"""The measured runs of tests/data, and the models and options that they were made with."""

import json
from pathlib import Path

from gptcalc.spec.files import load_model
from gptcalc.spec.model import ModelSpec, parse_model

LLAMA = {
    "position": "rotary",
    "norm": "rmsnorm",
    "activation": "silu",
    "gated": True,
    "attention_bias": False,
    "attention_output_bias": False,
    "mlp_bias": False,
}
OPTIMIZERS = {"sgdm": "sgd-momentum"}


def rows(name: str) -> list[dict]:
    """The rows of a file; its first line is their source."""
    return [json.loads(line) for line in (Path(__file__).parent / "data" / name).read_text().splitlines()[1:]]


def model_of(row: dict) -> ModelSpec:
    if "config" in row:
        return load_model({"max_position_embeddings": 2048, **row["config"]} if row["config"]["model_type"] != "gpt2" else row["config"])
    s = row["shape"]
    fields = {
        "name": row["model"],
        "n_layer": s["n_layer"],
        "d_model": s["d_model"],
        "n_head": s["n_head"],
        "d_ff": s["d_ff"],
        "vocab_size": s["vocab"],
        "n_ctx": s.get("n_ctx", 8192),
        "tied": s["tied"],
    }
    if s.get("family") == "llama":
        fields |= LLAMA | {"n_kv_head": s["n_kv_head"]}
    return parse_model(fields)


def options_of(row: dict) -> dict:
    options = {
        "batch": row["batch"],
        "seq": row["seq"],
        "runtime": row["runtime"],
        "compiled": row["compiled"],
        "precision": row["precision"],
        "recompute": row["recompute"],
        "attention_kernel": "eager" if row["attention"] == "eager" else "flash",
        "optimizer": OPTIMIZERS.get(row["optimizer"], row["optimizer"]),
    }
    if "lora" in row:
        options |= {"lora_rank": row["lora"]["rank"], "lora_targets": tuple(row["lora"]["targets"])}
    if row["model"].endswith("-dropout"):
        options["dropout"] = True
    return options
