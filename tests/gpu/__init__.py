"""The suite for an accelerator: what it can, it runs on the CPU as well."""
