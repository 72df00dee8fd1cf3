"""Any training program under observation: as ``__main__`` of this process, and in the processes it starts."""
