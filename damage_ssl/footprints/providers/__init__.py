"""Online sources of footprints and imagery, through their maintained clients (the optional extra `fetch`)."""
