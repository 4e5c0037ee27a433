"""What solvers on grids share: coarser and finer grids, and whether cells resolve a step."""
