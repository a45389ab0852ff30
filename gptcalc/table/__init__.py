"""What a model is: its operations row by row, and the parameters and FLOPs that are sums of their columns."""
