"""Both dates of neighbouring buildings on their grids; each block of a scene is read once."""
