"""The table of buildings and its rules, and the files made of it."""
