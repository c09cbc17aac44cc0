"""A provider whose cloud is a folder: real life cycle, real commands, no machines."""
