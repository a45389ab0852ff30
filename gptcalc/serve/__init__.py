"""Serving a model: how long a prompt and each new token take, how many users fit, and what it costs.

- All of it: `answer.infer`, from a `request.request_of`.
- One pass, kernel by kernel: `forward`, `phase`; one setting with its prompt and its new tokens: `point.point_of`.
- How many sequences fit: `room.room_of`. What tokens cost: `economy.cost_of`. How far a time may be off: `certainty.certainty_of`.
- Batches or prompts varied: `sweep.sweep_of`. Latencies to keep: `target.targets_of`.
"""
