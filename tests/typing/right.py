"""What a type checker must accept. `assert_type` says what it must have understood."""

from typing import Any, assert_type

import numpy as np

import gptcalc as gc
from gptcalc.footprint.answer import ServingMemory, TrainingMemory
from gptcalc.run.answer import Run
from gptcalc.serve.answer import Inference
from gptcalc.serve.fleet import Fleet
from gptcalc.serve.loaded import Loaded
from gptcalc.spec.device import load_device

model = gc.model("gpt2", n_layer=3)
assert_type(model, gc.ModelSpec)
assert_type(gc.train(model, tokens="1B", count=8, tp=2, optimizer="lion"), Run)
assert_type(gc.train("gpt2", tokens=10**9, device=load_device("h100"), price="2..3"), Run)
assert_type(gc.train("gpt2", tokens=10**9, device=["h100", "a100"]), list[Run])
assert_type(gc.train({"model_type": "gpt2"}, tokens="1B", batch=np.array([1, 2]), tp=[1, 2], zero=3), Run)
assert_type(gc.memory("gpt2", batch=8, freeze=["embedding"]), TrainingMemory)
assert_type(gc.memory("gpt2", mode="training", lora_rank=8, pp=2, stage="first"), TrainingMemory)
assert_type(gc.memory("gpt2", mode="inference", kv_precision="fp8"), ServingMemory)
assert_type(gc.infer("gpt2", batch=8, prompt=np.array([64, 128]), runtime="eager", target="tpot=30ms"), Inference)
assert_type(gc.infer("gpt2", server="vllm", concurrency="max", tp=2, lengths="drawn", price="2..3"), Loaded)
assert_type(gc.infer("gpt2", rate=2.5, device=load_device("h100")), Loaded)
assert_type(gc.infer("gpt2", rate=2.5, target="ttft=1s", device=["h100", "h200"], write="vllm"), Fleet)
run: gc.Node[Any] = gc.train("gpt2", tokens="1B").parts
