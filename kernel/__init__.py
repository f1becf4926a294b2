"""The ground floor: the system calls that Python lacks, and what every room shares.

One thin, typed function for each call, named as in section 2 of the manual and raising
:class:`OSError` with the path in it. There is no policy here: nothing in this room knows what a
container, an image or a volume is. Beside the calls stand the few words that all rooms speak:
:class:`~kernel.record.Record` (frozen data), :class:`~kernel.errors.PyctrError` (what failed, why,
what to do) and :mod:`kernel.trace` (named points where a test can stop a process).
"""
