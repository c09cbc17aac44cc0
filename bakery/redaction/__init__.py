"""Secrets: the value that refuses to become text, its encodings, and how it is taken out of every text."""
