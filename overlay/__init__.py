"""The union filesystem: layers on disk, mounting a stack, reading its changes, layer archives.

This room knows folders and tar streams, not images and not containers.
"""
