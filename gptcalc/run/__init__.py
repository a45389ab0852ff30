"""A training run: its steps, hours, money and energy, and published runs beside them.

- The bill of a run: `request.train`, one on one device `request.run_of`; what it answers: `answer.Run`.
- Whether it fits: `room.room_of`; with which larger batch: `larger.larger_batch`. Failures and checkpoints: `goodput.goodput_of`.
- How far a time may be off: `pace.pace_of`. MFU and HFU: `use.flops_of`.
- Published runs, predicted beside reported: `published.replicate`. The formulas against a counting forward pass: `verify.verify`.
"""
