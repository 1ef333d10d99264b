"""The models page: what is on the disk, what it is, and what runs it."""
