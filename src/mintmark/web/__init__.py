"""The JSON edge: protocol endpoints, one file each. Every failure is an RFC 6749 §5.2 error, ours included."""
