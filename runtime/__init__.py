"""An OCI runtime spec in, a process out.

The room turns a runtime specification (a dict with exactly the specification's field names) into
a plan, an explicit list of steps, and performs it in a forked child that becomes the container's
first process. It knows nothing of images, volumes, names or SQL: a volume is a bind mount here.

========================  =====================================================================
``plan``, ``steps``       what a start consists of, as data: describe, perform, shell
``launch``                fork, cgroup, the plan, exec; errors come back over a pipe
``join``                  another process in a running container
``peers``, ``sharing``    namespaces and shared memory of another container
``cgroups``               v1 and v2 behind one class
``capabilities``          the five sets
``seccomp``               the filter, compiled once by libseccomp; profiles of the person's own
``sysctls``               which kernel parameters belong to a namespace
``users``, ``programs``   what the container's own files say, read without trusting them
``explain``               the plan as a story or as a shell script
========================  =====================================================================
"""
