"""Serving a model: how long a prompt and each new token take, how many users fit, and what it costs."""
