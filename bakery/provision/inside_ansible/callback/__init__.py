"""Callback plugins; `launcher.py` makes the folder known to Ansible."""
