"""What it costs. Pure: numbers in, itemised numbers out."""
