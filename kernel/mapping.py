"""Dicts whose keys are data: labels, options, networks by name.

Everywhere else a dict stands for an object with fields, and asking for a field that it has not is
a mistake. Of labels one may ask for any: a template (``--format``) tells the two apart by this.
"""

from __future__ import annotations


class Map(dict[str, object]):
    """A dict of data by name; otherwise a plain dict."""
