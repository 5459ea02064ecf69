"""Long work: one piece of work in a process of its own, and what it says of itself."""
