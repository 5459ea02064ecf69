"""Who may do what: roles, signed tickets, the gate that every request passes, people."""
