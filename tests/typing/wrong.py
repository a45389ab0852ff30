"""What a type checker must refuse: every line below that ends in `# refused`."""

import gptcalc as gc

gc.train("gpt2", tokns="1B")  # refused
gc.train("gpt2", tokens={"B": 1})  # refused
gc.train("gpt2", tp="two", zero="3")  # refused
gc.train("gpt2", tokens="1B", lora_rank=8)  # refused
gc.train("gpt2", tokens="1B", compiled="yes")  # refused
gc.train("gpt2", tokens="1B", optimizer=3)  # refused
gc.train(tokens="1B")  # refused
gc.memory("gpt2", virtual_stage=2)  # refused
gc.memory("gpt2", kv_precision="fp8")  # refused
gc.memory("gpt2", mode="inference", optimizer="adamw")  # refused
gc.memory("gpt2", mode="serving")  # refused
gc.memory("gpt2", freeze="embedding")  # refused
gc.memory("gpt2", stage="second")  # refused
gc.infer("gpt2", concurency=3)  # refused
gc.infer("gpt2", server="vllm", sweep="batch=1..8")  # refused
gc.infer("gpt2", server=3)  # refused
gc.infer("gpt2", lengths="same")  # refused
gc.infer("gpt2", rate=3.0, target="ttft=1s", count=8)  # refused
print(gc.train("gpt2", tokens="1B").step_tim)  # refused
