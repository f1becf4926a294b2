"""OCI images: references, the content store, archives, commit. Knows nothing of containers."""
