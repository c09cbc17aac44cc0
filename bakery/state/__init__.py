"""What exists because of us, written down first: journal, claims, destroying, `bake gc`."""
