"""Machines as they were after a step: where they are stored, leased and thrown away."""
