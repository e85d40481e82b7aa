"""The command line: one small file per verb, nothing that a notebook cannot call."""
