"""The build of images from Dockerfiles.

What is here of files: context (the folder or archive that is built from), ignore (.dockerignore)
and globs, select (which files a COPY or ADD means, and their digest), place (putting them into an
image's root), modes (--chmod), fetch (ADD of a URL).

Source: Docker's "Dockerfile reference" and "Build context".
"""
