"""The one place that renders: tables for the terminal, JSON, CSV, Markdown."""
