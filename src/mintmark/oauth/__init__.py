"""The vocabulary that the authority, the verifier and the client share: frozen values, no I/O, no server dependency."""
