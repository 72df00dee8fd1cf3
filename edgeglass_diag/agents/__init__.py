"""A server of the Model Context Protocol, through which agents look at runs; needs the extra ``mcp``."""

from edgeglass_diag.extras import check_extra

check_extra("mcp", "mcp")
