"""The `bake` command."""
