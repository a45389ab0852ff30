"""How long one step takes: its kernels on its chip, what devices send each other, and what hides what.

- One kernel on one chip: `kernels`, of a `chip.Chip`. Every kernel of a step: `launches.work_of`.
- A step, on one device or many: `step.step_time`; part by part: `breakdown`; one stage of a pipeline: `stage`, `local`.
- What is sent, and what of it nothing hides: `traffic`, by `collectives.collective`. The schedule of a pipeline, drawn: `schedule`.
- Which software runs a layout: `software.stacks_for`.
"""
