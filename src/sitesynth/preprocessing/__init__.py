"""From image files in any grid and unit to arrays on the study's grid, in [0, 1]."""
