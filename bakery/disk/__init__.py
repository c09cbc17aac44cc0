"""Partition tables, file systems, boot loaders and image formats, without loop devices."""
