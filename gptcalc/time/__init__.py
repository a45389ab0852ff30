"""How long one step takes on one device: its kernels on its chip."""
