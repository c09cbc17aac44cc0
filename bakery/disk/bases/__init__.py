"""Where a first disk comes from."""
