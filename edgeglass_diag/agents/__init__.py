"""A server of the Model Context Protocol, through which agents look at runs; needs the extra ``mcp``."""
