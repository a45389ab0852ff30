"""What stands in a device's memory, when it is fullest, and whether it fits: training and serving."""
