"""Providers of machines and images."""
