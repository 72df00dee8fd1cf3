"""Pure functions from frames to plotly figures, for dashboard, report and notebooks. No torch, no Dash, no store."""

from edgeglass_diag.extras import extra

with extra("figures", "a figure"):
    import plotly  # noqa: F401
