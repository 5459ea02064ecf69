"""Semi-supervised learning on pairs. Knows no run: it is handed a folder, or none."""
