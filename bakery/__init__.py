"""Machine images as code, in plain Python."""
