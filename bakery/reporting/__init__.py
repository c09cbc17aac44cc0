"""Readers of the event stream: what people and machines see of a run."""
