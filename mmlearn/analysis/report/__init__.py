"""The report of runs: `build` puts it together, the others write its sections."""
