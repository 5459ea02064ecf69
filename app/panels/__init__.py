"""The steps of the side panel, one file each."""
