"""Bakery on other hosts: Debian releases as root folders, what runs in them, and the page that says what came of it."""
