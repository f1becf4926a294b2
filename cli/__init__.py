"""The command line: Docker's words where Docker has the command.

main: one run of the command, errors and exit codes. commands: which commands there are. options:
how a command line is read. container, image, volume, system: the commands, one module per noun.
"""
