"""A training run: its steps, hours, money and energy, and published runs beside them."""
