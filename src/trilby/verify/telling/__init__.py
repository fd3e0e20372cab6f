"""What a verdict says: the report, the reproducer, the triangle that was measured."""
