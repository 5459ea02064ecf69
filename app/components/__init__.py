"""Components of the page, with what they need from other projects in `vendor`."""
