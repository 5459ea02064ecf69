"""A run on disk, its plan, its predictions; one module a kind of run."""
