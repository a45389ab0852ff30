"""Choosing: which model, for how much compute.

- `laws`: published scaling laws, each with its constants, where they were fitted and what it counts.
- `repeated`: what tokens are worth that are seen more than once, and what a model costs that serves many tokens.
- `scale`: compute-optimal sizes by every law, from FLOP, money, parameters or tokens.
"""
