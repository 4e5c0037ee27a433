"""Dynamic transport on grids: one splitting for geodesics, planning and proximal steps."""
