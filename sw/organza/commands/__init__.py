"""The commands of `organza`, one file each."""
