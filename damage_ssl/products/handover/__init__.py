"""What is handed over: map, card, checks, note for the receiver, pack."""
