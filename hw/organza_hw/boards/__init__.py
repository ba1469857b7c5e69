"""Top modules of boards, and what of them is a family's own."""
