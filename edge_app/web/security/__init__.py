"""Who may see and change what: accounts, sessions, the guard in front of every route, the audit log."""
