"""Who is in the namespace: announcing, the directory, and resolving names."""
