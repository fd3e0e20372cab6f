"""What a kernel needs of the machine: threads, memory for results, the compiler."""
