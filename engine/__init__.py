"""The container object and its life: create, start, stop, restart, remove.

home: the folders, the database and the stores below them. settings: what a container was asked
to be. containers: the table. create, start, monitor, stop, remove, execute: one verb each;
erase is how a container leaves.
compose: a container becomes an OCI runtime specification. wire, attach, logs: its streams.
reconcile: what a crash left is mended by the next command.
"""
