"""Checkpoints that hosts share: in a folder, a bucket or at an SFTP server, by their content."""
