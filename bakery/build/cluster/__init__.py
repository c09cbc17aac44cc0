"""Builds on other machines: what travels to a Dask worker, how it is watched there, and how its image comes back."""
