"""Dockerfiles: text into instructions. Pure; what is done with them is the engine's affair.

lines: directives, comments, continued lines and here-documents into logical lines.
words: quoting and variables. parser: lines into typed instructions and stages.

Source: Docker's "Dockerfile reference".
"""
