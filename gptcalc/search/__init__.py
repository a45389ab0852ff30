"""Choosing: which layout, which shape, which model, for how much compute.

- `plan`: the layouts of a training run, every legal one timed and weighed; of many at once in `columns`.
- `sweep`: variants side by side; what may vary stands in `varied`, what may be shown in `measures`. `design`: shapes of a number of
  parameters.
- `laws`: published scaling laws, each with its constants, where they were fitted and what it counts.
- `repeated`: what tokens are worth that are seen more than once, and what a model costs that serves many tokens.
- `scale`: compute-optimal sizes by every law, from FLOP, money, parameters or tokens.
"""
