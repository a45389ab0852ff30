"""Many devices: what their communication costs, how a step is divided over them, and what remains of a long run."""
