"""What every recurrence on a CPU shares: tensors by address, chunks fetched and packed, threads."""
