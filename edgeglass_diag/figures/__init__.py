"""Pure functions from frames to plotly figures, for dashboard, report and notebooks. No torch, no Dash, no store."""
