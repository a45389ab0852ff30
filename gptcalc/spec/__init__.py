"""What you put in: model specs, their presets, and the import of other programs' configuration files."""
