"""One module a file format of footprints."""
