"""The flags of `create` and `run`, one module for each thing that they are about.

Each module has its OPTIONS and ``settings(parsed)``, the fields of engine.settings.Settings that
they decide. :mod:`cli.creation.request` puts them together; :mod:`cli.creation.readers` says what
each word must look like.
"""
