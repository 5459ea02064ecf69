"""One module a service that is asked for footprints."""
