"""What `jko.sample` returns: the result, its files, figures, tables and comparisons."""
