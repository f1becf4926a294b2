"""Volumes: folders that outlive containers, mounted past the union.

requests: what a person asks for. plan: what a container gets. store: the volumes on disk.
populate: how a new volume gets its first content.
"""
