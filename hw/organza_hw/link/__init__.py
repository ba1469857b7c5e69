"""The serial link to a host: bytes (`uart`) and frames (`frames`)."""
