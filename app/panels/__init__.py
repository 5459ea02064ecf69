"""The steps of the side panel."""
